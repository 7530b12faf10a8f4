// The Erase tab: open a photo, mark, erase in place, compare, undo, keep, download.

import { canvasOf } from "./drawing.js";
import { Editor, radiusOf, sliderOf } from "./editor.js";
import * as server from "./server.js";
import { ACTION_SECONDS, attempt, connectArrows, connectMenu, element, find, findAll, icon, readStored, say, setBar, STORAGES, tellJob, toast } from "./ui.js";

const STORED = "inpaint.work";
const TOUCH = matchMedia("(hover: none)");

export class EraseTab {
  constructor(settings) {
    this.settings = settings;
    this.photo = null;
    this.history = [{ fill: null, operations: [] }]; // what Ctrl+Z goes back through: strokes and fills alike
    this.place = 0;
    this.patches = new Map(); // fill id -> {bitmap, x, y}
    this.kept = new Set();
    this.versus = null; // the fill that is compared with; null: the photo as it came
    this.job = null;
    this.from = 0; // the place in the history whose marks the job fills
    this.model = settings.models.find((model) => model.here).key;
    this.editor = new Editor(find("#stage"), {
      onStroke: (operation) => this.mark(operation, true),
      onSelect: (rough) => this.select(rough),
      onBrush: (radius) => {
        find("#size").value = sliderOf(radius);
        localStorage.setItem("inpaint.brush", radius);
      },
      onView: (scale) => (find("#zoom").value = `${Math.round(scale * 100)} %`),
      loadLayer: (id) => server.bitmapOf(`api/photos/${this.photo.id}/masks/${id}`),
      loadDetail: (box, width, height, before) =>
        server.bitmapOf(server.viewUrl(this.photo, before ? this.versus : this.state.fill, box, width, height)).catch(() => null),
    });
    this.connect();
    this.editor.setBrush(Number(localStorage.getItem("inpaint.brush")) || 24);
    this.showModel();
    this.refresh();
  }

  get state() {
    return this.history[this.place];
  }

  fillOf(id) {
    return this.photo.fills.find((fill) => fill.id === id);
  }

  // A fill and all it was made on, the oldest first.
  chain(id) {
    const found = [];
    for (let fill = id && this.fillOf(id); fill; fill = fill.parent && this.fillOf(fill.parent)) found.unshift(fill);
    return found;
  }

  // -- opening --------------------------------------------------------------------------------------

  async open(file) {
    if (this.opening) return;
    this.opening = true;
    await this.cancel();
    const started = performance.now();
    this.showWorking("Opening", 0);
    await attempt(async () => {
      const photo = await this.upload(file);
      await this.change(photo);
      this.openedIn = performance.now() - started;
    });
    this.opening = false;
    this.showWorking(null);
  }

  async upload(file) {
    const path = `api/photos?name=${encodeURIComponent(file.name || "photo.png")}`;
    const photo = await server.upload(path, file, (done) =>
      this.showWorking(done < 1 ? `Uploading ${Math.round(done * 100)} %` : "Opening", done),
    );
    return Object.assign(photo, { file });
  }

  // Show another photo, with a way back to the one before if something was done there.
  async change(photo, history = [{ fill: null, operations: [] }], place = 0, kept = new Set(), grow = null) {
    const [earlier, ...work] = [this.photo, this.history, this.place, this.kept, this.grow];
    const worked = earlier && (earlier.fills.length > 0 || this.state.operations.length > 0);
    this.grow = grow;
    await this.show(photo, history, place);
    this.kept = kept;
    this.refresh();
    const goBack = async () => {
      await this.cancel();
      await this.change(earlier, ...work);
    };
    const back = worked && [`Back to ${earlier.name}`, () => attempt(goBack)];
    const frames = photo.frames > 1 ? ` This file has ${photo.frames} pages or frames. The first is shown and filled; the others are kept as they are.` : "";
    find("#toasts").replaceChildren(); // they were about the photo before
    if (back || frames) toast(`Opened ${photo.name}.${frames}`, frames && "warning", back);
  }

  async show(photo, history, place) {
    this.setSlider(false);
    const whole = server.wholeOf(photo);
    const preview = await server.bitmapOf(server.viewUrl(photo, null, whole, photo.preview.width, photo.preview.height));
    this.photo = photo;
    this.history = history;
    this.place = place;
    this.patches.clear();
    this.kept = new Set();
    this.preview = preview;
    document.title = `${photo.name} – Inpaint`;
    find("#start").hidden = true;
    for (const id of ["#dock", "#view-tools", "#file-tools", "#strip"]) find(id).hidden = false;
    await new Promise(requestAnimationFrame); // the stage has its size now
    this.editor.open(photo, preview);
    this.setGrow(this.grow ?? null);
    await this.apply();
  }

  // Ask the server about the photo; one that was started again has it no more, and gets it once more.
  async ask(work) {
    try {
      return await work();
    } catch (error) {
      const { photo } = this;
      const isLost = () => server.get(`api/photos/${photo.id}`).then(() => false, ({ status }) => status === 410);
      if (error.status !== 410 || !photo.file || !(await isLost())) throw error;
      const renewed = await this.upload(photo.file);
      // Results and mask files were only on the server.
      const history = this.history.map(({ operations }) => ({ fill: null, operations: operations.filter(({ kind }) => kind !== "layer") }));
      const isWhole = photo.fills.length === 0 && this.history.every((state, place) => state.operations.length === history[place].operations.length);
      await this.show(renewed, history, this.place);
      if (!this.job) this.showWorking(null);
      if (isWhole) return work();
      const told = "The server had lost this photo with its results and masks. It is open again, with the strokes you painted";
      throw new server.ServerError(told, 410);
    }
  }

  // Bring the screen to the present state.
  async apply() {
    const { state } = this;
    if (state.fill === this.versus) this.setSlider(false);
    await this.loadPatches(state.fill);
    await this.loadPatches(this.versus);
    if (state !== this.state) return; // it changed meanwhile, and is shown by who changed it
    await this.editor.drawing.show(state.operations);
    this.refresh();
  }

  async loadPatches(id) {
    for (const fill of this.chain(id)) {
      if (this.patches.has(fill.id)) continue;
      const { x, y, width, height } = fill.patch;
      const bitmap = await server.bitmapOf(server.viewUrl(this.photo, fill.id, fill.box, width, height));
      this.patches.set(fill.id, { bitmap, x, y });
    }
  }

  refresh() {
    const { fill, operations } = this.state;
    const at = (id) => this.chain(id).map((one) => this.patches.get(one.id)).filter(Boolean);
    if (this.photo) {
      this.editor.showPatches(at(fill), at(this.versus));
      find("#slider").disabled = find("#compare").disabled = fill === this.versus;
      this.showStrip();
      this.save();
    }
    const nothing = this.editor.drawing?.empty ?? true;
    find("#undo").disabled = this.place === 0 || Boolean(this.job);
    find("#redo").disabled = this.place === this.history.length - 1 || Boolean(this.job);
    find("#run").disabled = nothing || Boolean(this.job) || Boolean(this.selecting);
    find("#invert").disabled = Boolean(this.job);
    find("#again").hidden = true;
    this.showHint();
    find("#clear").disabled = operations.length === 0;
    find("#save-mask").disabled = nothing;
    this.editor.refresh();
  }

  // What to do next, as long as nothing is marked.
  showHint() {
    const { fill, operations } = this.state;
    const click = this.settings.selector.here ? ", or click on it" : "";
    const told = {
      brush: fill ? "" : `Paint over what should go, then press Erase${TOUCH.matches ? ". Two fingers zoom and move." : ""}`,
      eraser: "Rub out marks that went too far",
      box: `Draw a box around an object to select it${click}`,
      scribble: `Scribble over an object to select it${click}`,
    }[this.editor.tool];
    find("#hint").textContent = told;
    find("#hint").hidden = !this.photo || !told || operations.length > 0 || !find("#working").hidden;
  }

  // -- what is marked -------------------------------------------------------------------------------

  step(state) {
    this.history = [...this.history.slice(0, this.place + 1), state];
    this.place = this.history.length - 1;
  }

  async mark(operation, drawn = false) {
    const { fill, operations } = this.state;
    if (operation.erase && this.editor.drawing.empty) return;
    if (operation.kind === "invert" && this.job) return; // what is being filled would be marked as well
    this.step({ fill, operations: [...operations, operation] });
    await attempt(() => this.apply());
    if (drawn && !operation.erase && find("#auto").checked) this.run();
  }

  clear() {
    if (this.state.operations.length === 0) return;
    this.step({ fill: this.state.fill, operations: [] });
    attempt(() => this.apply());
  }

  travel(steps) {
    const place = this.place + steps;
    if (this.job || place < 0 || place >= this.history.length) return;
    this.place = place;
    attempt(() => this.apply());
  }

  async select(rough) {
    this.editor.refresh();
    if (this.selecting || this.job) return;
    if (rough.kind === "click" && !this.settings.selector.here) return toast("Draw a box around an object, or scribble over it");
    this.selecting = true;
    this.showWorking("Selecting", null);
    const fill = this.state.fill ? `?fill=${this.state.fill}` : "";
    await attempt(async () => {
      const job = await this.ask(() => server.post(`api/photos/${this.photo.id}/select${fill}`, rough));
      const { id } = await server.follow(job);
      this.selecting = false;
      this.mark({ kind: "layer", id });
    });
    this.selecting = false;
    this.showWorking(null);
    this.refresh();
  }

  async useMask(file) {
    await attempt(async () => {
      const { id, warning } = await this.ask(() => server.upload(`api/photos/${this.photo.id}/masks`, file));
      this.mark({ kind: "layer", id });
      if (warning) toast(warning, "warning");
    });
  }

  async saveMask() {
    await attempt(async () => {
      const blob = await this.ask(() => server.postForFile(`api/photos/${this.photo.id}/mask`, this.editor.drawing.value));
      server.saveBlob(blob, `${stemOf(this.photo.name)}-mask.png`);
    });
  }

  // -- erasing --------------------------------------------------------------------------------------

  async run() {
    if (!this.photo || this.job || this.selecting || this.editor.drawing.empty) return;
    this.job = { state: "waiting" }; // at once: a second click finds it
    this.from = this.place;
    this.refresh();
    this.setSlider(false);
    const filled = await attempt(async () => {
      const start = () => {
        const wanted = { drawing: { ...this.editor.drawing.value, operations: this.history[this.from].operations }, model: this.model, parent: this.state.fill };
        return server.post(`api/photos/${this.photo.id}/fills`, wanted);
      };
      return this.finish(await this.ask(start));
    });
    this.job = null;
    this.showWorking(null);
    this.refresh();
    if (filled && find("#auto").checked) this.run(); // what was painted meanwhile
  }

  async finish(job) {
    const { photo } = this;
    const started = performance.now();
    let warned = false;
    const tick = setInterval(() => this.job?.id && this.showJob(this.job, started), 500);
    let fill;
    try {
      fill = await server.follow(job, (next) => {
        this.showJob((this.job = next), started);
        if (next.warning && !warned) toast(next.warning, "warning");
        warned ||= Boolean(next.warning);
      });
    } finally {
      clearInterval(tick);
    }
    if (!photo.fills.some(({ id }) => id === fill.id)) photo.fills.push(fill);
    if (photo !== this.photo) return false; // another one was opened
    await this.loadPatches(fill.id);
    this.versus = null;
    // What was marked meanwhile is marked on the result.
    const sent = this.history[this.from].operations;
    const states = this.history.slice(this.from, this.place + 1).map(({ operations }) => ({ fill: fill.id, operations: addedTo(sent, operations) }));
    this.history = [...this.history.slice(0, this.from + 1), ...states];
    this.place = this.history.length - 1;
    this.job = null;
    await this.apply();
    this.filledIn = performance.now() - started;
    return true;
  }

  showJob(job, started) {
    this.showWorking(tellJob(job, started), (job.state === "running" && job.fraction) || null);
  }

  showWorking(told, fraction) {
    const working = find("#working");
    if (working.hidden !== (told === null)) say(told ?? "Finished"); // once, not at each change
    working.hidden = told === null;
    find("#cancel").hidden = !this.job;
    this.showHint();
    if (told === null) return;
    find(".told", working).textContent = told;
    setBar(find(".bar-line", working), fraction);
  }

  async cancel() {
    if (!this.job?.id) return;
    const job = this.job;
    await attempt(() => server.cancel(job));
    this.showWorking("Stopping", null);
  }

  // -- results --------------------------------------------------------------------------------------

  goTo(id) {
    if (this.job || id === this.state.fill) return;
    this.step({ fill: id, operations: this.state.operations });
    this.versus = null;
    attempt(() => this.apply());
  }

  compareWith(id) {
    if (this.isVersus(id)) return this.setSlider(false);
    this.versus = id;
    attempt(async () => {
      await this.apply();
      this.setSlider(true);
    });
  }

  isVersus(id) {
    return this.editor.divider !== null && this.versus === id;
  }

  discard(id) {
    const { photo } = this;
    const fill = this.fillOf(id);
    const index = photo.fills.indexOf(fill);
    const here = this.state.fill === id;
    photo.fills.splice(index, 1);
    this.history = this.history.map((state) => (state.fill === id ? { ...state, fill: fill.parent } : state));
    if (here || this.versus === id) this.setSlider(false);
    attempt(() => this.apply());
    // The server deletes it when it is too late to undo.
    const timer = setTimeout(() => server.remove(`api/photos/${photo.id}/fills/${id}`).catch(() => {}), ACTION_SECONDS * 1000);
    const undo = () => {
      clearTimeout(timer);
      photo.fills.splice(index, 0, fill);
      if (photo !== this.photo) return;
      if (here) this.goTo(id);
      else this.refresh();
    };
    toast("The result was removed", "", ["Undo", undo]);
  }

  showStrip() {
    const strip = find("#strip");
    const results = [null, ...this.photo.fills.map((fill) => fill.id)];
    strip.replaceChildren(...results.map((id, number) => this.resultOf(id, number)));
    const current = find("[aria-current=true]", strip);
    current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  resultOf(id, number) {
    const fill = id && this.fillOf(id);
    const name = fill ? `Result ${number}` : "Photo";
    const current = this.state.fill === id;
    const title = fill ? `${this.titleOf(fill.model)}, ${fill.seconds.toFixed(1)} s` : "The photo as it came";
    const image = element("img", { src: this.thumbnail(id), alt: "", loading: "lazy" });
    const tool = (kind, label, symbol, onclick, pressed) =>
      element("button", { class: `icon ${kind}`, title: label, "aria-label": label, "aria-pressed": pressed, onclick }, icon(symbol));
    const isLeaf = fill && !this.photo.fills.some((other) => other.parent === id);
    const tools = element(
      "div",
      { class: "tools" },
      current ? null : tool("versus", `Compare with ${name}`, "split", () => this.compareWith(id), String(this.isVersus(id))),
      fill && tool("pin", this.kept.has(id) ? "Kept; press to let it be removed" : "Keep: protect it from being removed", "pin", () => this.keep(id), String(this.kept.has(id))),
      isLeaf && !this.job && !this.kept.has(id) && tool("drop", `Remove ${name}`, "clear", () => this.discard(id)),
    );
    return element(
      "div",
      { class: this.kept.has(id) ? "result kept" : "result", "aria-current": String(current) },
      element("button", { title, "aria-label": `Go on from ${name}`, onclick: () => this.goTo(id) }, image),
      element("div", { class: "name" }, element("span", {}, name)),
      tools,
    );
  }

  thumbnail(id) {
    const { width, height } = this.photo.preview;
    const factor = Math.min(1, 200 / Math.max(width, height));
    const sides = [width, height].map((side) => Math.max(1, Math.round(side * factor)));
    return server.viewUrl(this.photo, id, server.wholeOf(this.photo), ...sides);
  }

  keep(id) {
    if (!this.kept.delete(id)) this.kept.add(id);
    this.refresh();
  }

  async download(lossless) {
    this.showWorking("Preparing the file", null); // seconds for a large PNG
    await attempt(async () => {
      const path = () => `api/photos/${this.photo.id}/download?lossless=${lossless}${this.state.fill ? `&fill=${this.state.fill}` : ""}`;
      const { notes } = await this.ask(() => server.post(path()));
      server.saveUrl(path());
      if (!this.editor.drawing.empty) notes.unshift("what is marked now is not erased yet, and is in the file as it was");
      const told = notes.map((note) => ` ${note[0].toUpperCase()}${note.slice(1)}.`);
      if (notes.length) toast(`Downloaded.${told.join("")}`, "warning");
    });
    if (!this.job) this.showWorking(null);
  }

  setSlider(on) {
    if (on === (this.editor.divider !== null)) return;
    if (!on) this.versus = null;
    this.editor.setDivider(on ? 0.5 : null);
    find("#slider").setAttribute("aria-pressed", String(on));
    this.refresh();
  }

  setCompare(on) {
    this.editor.setComparing(on && this.state.fill !== this.versus);
    find("#compare").setAttribute("aria-pressed", String(this.editor.comparing));
  }

  // -- models ---------------------------------------------------------------------------------------

  titleOf(key) {
    return this.settings.models.find((model) => model.key === key)?.title ?? key;
  }

  showModel() {
    find("#model span").textContent = this.titleOf(this.model);
    find("#models").replaceChildren(...this.settings.models.map((model) => this.modelButton(model)));
  }

  modelButton(model) {
    const size = model.megabytes ? `${model.megabytes} MB` : "";
    const tag = model.here ? size : this.settings.allow_downloads ? `fetch ${size}` : "not here";
    const about = element("span", {}, model.title, element("small", {}, model.about));
    const attributes = { role: "menuitemradio", "aria-checked": String(this.model === model.key), title: `${model.key}. ${model.licence}` };
    attributes.onclick = () => (model.here ? this.chooseModel(model.key) : this.fetchModel(model));
    return element("button", attributes, about, element("span", { class: "tag" }, tag));
  }

  chooseModel(key) {
    this.model = key;
    localStorage.setItem("inpaint.model", key);
    find("#model-menu").hidePopover(); // first: it gives the focus back to its button
    this.showModel();
    const { fill, operations } = this.state;
    const marks = fill && operations.length === 0 && this.history[this.place - 1];
    find("#again").hidden = !(marks && marks.operations.length && marks.fill === this.fillOf(fill).parent);
  }

  // The same marks once more, with the model that is chosen now.
  again() {
    this.step(this.history[this.place - 1]);
    attempt(async () => {
      await this.apply();
      await this.run();
    });
  }

  async fetchModel(model) {
    for (const menu of findAll(".menu")) menu.hidePopover(); // they would lie over the message
    if (!this.settings.allow_downloads) {
      toast(`${model.title} is not on this server. Its owner can fetch it: inpaint models download ${model.key}`);
      return;
    }
    const started = performance.now();
    await attempt(async () => {
      const job = await server.post(`api/models/${model.key}/fetch`, {});
      const outcome = await server.follow(job, (next) => this.showJob((this.job = next), started));
      Object.assign(this.settings, outcome);
      this.job = null;
      if (outcome.models.some((one) => one.key === model.key)) this.chooseModel(model.key);
      toast(`${model.title} is ready`);
    });
    this.job = null;
    this.showWorking(null);
    this.refresh();
  }

  // -- this page, loaded again ----------------------------------------------------------------------

  // Every tab has its own; a new one goes on from what was saved last.
  save() {
    const whole = this.written(this.history, this.place);
    for (const storage of STORAGES) {
      try {
        storage.setItem(STORED, whole);
      } catch {
        try {
          storage.setItem(STORED, this.written([this.state], 0)); // storage is full: only what is shown
        } catch {
          storage.removeItem(STORED);
        }
      }
    }
  }

  // States share their operations: each is written once.
  written(history, place) {
    const pool = [...new Set(history.flatMap((state) => state.operations))];
    const number = new Map(pool.map((operation, index) => [operation, index]));
    const states = history.map(({ fill, operations }) => ({ fill, operations: operations.map((one) => number.get(one)) }));
    return JSON.stringify({ photo: this.photo.id, history: states, place, kept: [...this.kept], pool, grow: this.grow, from: this.from });
  }

  async restore() {
    let [stored, photo] = [null, null];
    for (const storage of STORAGES) {
      stored = readStored(storage, STORED) ?? stored;
      photo = stored && (await server.get(`api/photos/${stored.photo}`).catch(() => null));
      if (photo) break;
      storage.removeItem(STORED);
    }
    if (!photo) return stored && toast("The photo you worked on is no longer on the server. Open it again to go on", "warning");
    const known = new Set([null, ...photo.fills.map((fill) => fill.id)]);
    const history = stored.history
      .map(({ fill, operations }) => ({ fill, operations: operations.map((index) => stored.pool[index]) }))
      .filter(({ fill }) => known.has(fill));
    const whole = history.length === stored.history.length;
    this.grow = stored.grow;
    if (history.length === 0) history.push({ fill: null, operations: [] });
    await this.show(photo, history, whole ? stored.place : history.length - 1);
    this.kept = new Set(stored.kept);
    this.from = Math.min(stored.from ?? this.place, this.place);
    this.refresh();
    if (photo.job) {
      await attempt(async () => {
        this.job = { state: "waiting" };
        await this.finish(await server.get(`api/jobs/${photo.job}`));
      });
      this.job = null;
      this.showWorking(null);
      this.refresh();
    }
  }

  // -- buttons and keys -----------------------------------------------------------------------------

  connect() {
    const on = (selector, action) => find(selector).addEventListener("click", action);
    const { megapixels, megabytes, keep_minutes: minutes } = this.settings;
    find("#limits").textContent =
      `Up to ${megapixels} megapixels and ${megabytes} MB. Everything stays on this server and is deleted ${minutes} minutes after the last use.`;
    for (let number = 0; number < this.settings.examples; number++) {
      const source = `api/examples/${number}`;
      const show = () => attempt(async () => this.open(new File([await (await fetch(source)).blob()], `example-${number + 1}.jpg`)));
      const image = element("img", { src: source, alt: "" });
      if (number === 0) find("#examples").append("or try");
      find("#examples").append(element("button", { "aria-label": `Try example ${number + 1}`, onclick: show }, image));
    }
    on("#grow-auto", () => this.setGrow(null));
    on("#fetch-selector", () => this.fetchModel(this.settings.selector));
    on("#choose", () => find("#photo-file").click());
    on("#open", () => find("#photo-file").click());
    on("#use-mask", () => find("#mask-file").click());
    connectFile("#photo-file", (file) => this.open(file));
    connectFile("#mask-file", (file) => this.useMask(file));
    on("#run", () => this.run());
    on("#again", () => this.again());
    on("#cancel", () => this.cancel());
    on("#undo", () => this.travel(-1));
    on("#redo", () => this.travel(1));
    on("#clear", () => this.clear());
    on("#invert", () => this.mark({ kind: "invert" }));
    on("#save-mask", () => this.saveMask());
    on("#fit", () => this.editor.fit());
    on("#slider", () => this.setSlider(this.editor.divider === null));
    on("#save-same", () => this.download(false));
    on("#save-png", () => this.download(true));
    for (const menu of findAll(".menu")) menu.addEventListener("click", (event) => event.target.closest("button:not([role])") && menu.hidePopover());
    const compare = find("#compare");
    compare.addEventListener("pointerdown", (event) => {
      compare.setPointerCapture(event.pointerId);
      this.setCompare(true);
    });
    const isPress = ({ key }) => key === "Enter" || key === " ";
    compare.addEventListener("keydown", (event) => isPress(event) && this.setCompare(true));
    for (const kind of ["pointerup", "pointercancel", "blur", "keyup"]) compare.addEventListener(kind, () => this.setCompare(false));
    for (const button of findAll("[data-tool]")) button.addEventListener("click", () => this.setTool(button.dataset.tool));
    find("#size").addEventListener("input", (event) => {
      this.editor.setBrush(radiusOf(event.target.value));
      this.editor.showBrush();
    });
    find("#auto").checked = localStorage.getItem("inpaint.auto") === "true";
    find("#auto").addEventListener("change", (event) => localStorage.setItem("inpaint.auto", event.target.checked));
    find("#grow").addEventListener("input", (event) => this.setGrow(Number(event.target.value)));
    connectMenu(find("#mask"), find("#mask-menu"), () => {
      const { selector, allow_downloads: allowed } = this.settings;
      find("#fetch-selector").hidden = selector.here || !allowed;
      find("#fetch-selector small").textContent = `${selector.megabytes} MB to fetch once`;
    });
    connectMenu(find("#model"), find("#model-menu"), () => this.showModel());
    connectArrows(find("#models"), "ArrowUp", "ArrowDown");
    find("#model-menu").addEventListener("toggle", (event) => event.newState === "open" && find("#models [aria-checked=true]").focus());
    connectMenu(find("#help"), find("#help-menu"));
    connectMenu(find("#download"), find("#download-menu"), () => {
      const format = { jpg: "JPEG", tif: "TIFF" }[this.photo.format] ?? this.photo.format.toUpperCase();
      const parts = this.photo.format.startsWith("tif") ? "pages" : "frames";
      const pages = this.photo.frames > 1 ? ` and all ${this.photo.frames} ${parts}` : "";
      find("#save-same span").replaceChildren(format, element("small", {}, `full size, as your photo, with its metadata${pages}`));
      find("#save-png").hidden = format === "PNG";
    });
    // A photo that is open is in use, even while nothing is asked of the server.
    setInterval(() => this.photo && server.get(`api/photos/${this.photo.id}`).catch(() => {}), 5 * 60_000);
    const stored = localStorage.getItem("inpaint.model");
    if (this.settings.models.some((model) => model.here && model.key === stored)) this.model = stored;
    this.connectKeys();
    this.connectDrops();
  }

  setTool(tool) {
    this.editor.setTool(tool);
    for (const button of findAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    this.setSlider(false);
    this.showHint();
  }

  // By so many pixels of the photo; null: as the command line does by itself.
  setGrow(pixels) {
    this.grow = pixels;
    const { drawing } = this.editor;
    find("#grow-value").value = pixels === null ? `automatic, ${drawing.growth} px` : `${pixels > 0 ? "+" : ""}${pixels} px`;
    find("#grow").value = pixels ?? drawing.growth;
    find("#grow-auto").hidden = pixels === null;
    drawing.setGrow(pixels);
    this.editor.refresh();
    this.save();
  }

  connectKeys() {
    const { editor } = this;
    const plain = {
      b: () => this.setTool("brush"),
      e: () => this.setTool("eraser"),
      r: () => this.setTool("box"),
      f: () => this.setTool("scribble"),
      "[": () => editor.stepBrush(-1),
      "]": () => editor.stepBrush(1),
      enter: () => this.run(),
      escape: () => (this.job ? this.cancel() : this.setSlider(false)),
      delete: () => this.clear(),
      backspace: () => this.clear(),
      i: () => this.mark({ kind: "invert" }),
      s: () => this.state.fill !== this.versus && this.setSlider(editor.divider === null),
      c: () => this.setCompare(true),
      0: () => editor.fit(),
      "+": () => editor.zoom(1.3),
      "=": () => editor.zoom(1.3),
      "-": () => editor.zoom(1 / 1.3),
      "?": () => find("#help").click(),
      " ": () => ((editor.spaceHeld = true), editor.refresh()),
    };
    const command = { z: () => this.travel(-1), y: () => this.travel(1), s: () => this.download(false), enter: () => this.run() };
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches("input:not([type=range], [type=checkbox]), textarea, select");
      if (find("#erase").hidden || !this.photo || typing || event.altKey) return;
      const key = event.key.toLowerCase();
      if (key === "escape" && find(":popover-open")) return; // it closes the menu
      if ((key === "enter" || key === " ") && event.target.matches("button, summary, a, [type=checkbox]")) return; // it is pressed
      let action = plain[key];
      if (event.ctrlKey || event.metaKey) action = key === "z" && event.shiftKey ? command.y : command[key];
      if (!action) return;
      event.preventDefault();
      if (!event.repeat || "[]+-=".includes(key)) action();
    });
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") editor.spaceHeld = false;
      if (event.key.toLowerCase() === "c") this.setCompare(false);
      editor.refresh();
    });
    // After a click, keys are shortcuts again and do not press the button once more.
    find("#erase").addEventListener("click", (event) => event.detail > 0 && document.activeElement?.matches("button, [type=checkbox]") && document.activeElement.blur());
    addEventListener("blur", () => {
      editor.spaceHeld = false; // the key is let go elsewhere
      this.setCompare(false);
    });
  }

  // What was dropped or pasted: a photo, or a mask for the one that is open.
  async take(file) {
    if (!this.photo || !(await isMaskFor(this.photo, file))) return this.open(file);
    toast(`Took ${file.name} as a mask`, "", ["Open it as a photo", () => this.open(file)]);
    this.useMask(file);
  }

  connectDrops() {
    // Wherever it falls, but on the Batch tab, which takes many: else the browser would leave this page.
    const veil = find("#drop-veil");
    const erase = find("#erase");
    document.addEventListener("dragover", (event) => {
      if (event.defaultPrevented) return;
      event.preventDefault();
      veil.hidden = false;
    });
    document.addEventListener("dragleave", (event) => (veil.hidden = !event.relatedTarget));
    document.addEventListener("drop", (event) => {
      veil.hidden = true;
      const file = event.dataTransfer.files[0];
      if (event.defaultPrevented || !file) return;
      event.preventDefault();
      find("[data-tab=erase]").click();
      this.take(file);
    });
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (!erase.hidden && file) this.take(file);
    });
  }
}

function connectFile(selector, action) {
  const input = find(selector);
  input.addEventListener("change", () => {
    const file = input.files[0];
    if (file) action(file);
    input.value = "";
  });
}

// Of operations those that came after others were sent to be filled; on the result there is nothing to rub out of.
function addedTo(sent, operations) {
  const added = operations.filter((operation) => !sent.includes(operation));
  const first = added.findIndex((operation) => !operation.erase);
  return first < 0 ? [] : added.slice(first);
}

// Whether a file is of the photo's size and only black and white.
async function isMaskFor({ width, height }, file) {
  const bitmap = await createImageBitmap(file).catch(() => null); // not every browser reads TIFF
  if (bitmap?.width !== width || bitmap.height !== height) return false;
  const canvas = canvasOf({ width: Math.min(512, width), height: Math.min(512, height) });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.every((value, i) => (i % 4 === 3 ? value === 255 : (value < 8 || value > 247) && value === data[i - (i % 4)]));
}

const stemOf = (name) => name.replace(/\.[^.]*$/, "");
