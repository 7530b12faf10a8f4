// The Batch tab: many photos, one mask that is drawn on the first; each is filled at its own size. Once the
// photos are up, the server goes on by itself: this page may be closed and opened again.

import { Editor, radiusOf, sliderOf } from "./editor.js";
import * as server from "./server.js";
import { attempt, element, icon, labelled, Progress, readStored, say, select, STORAGES } from "./ui.js";

const STORED = "inpaint.batch";
const PLACINGS = [
  ["scale", "stretched to each photo"],
  ["bottom-right", "same size, same distance to the bottom right"],
  ["top-left", "same size, same distance to the top left"],
];

export class BatchTab {
  constructor(root, settings, erase) {
    this.root = root;
    this.settings = settings;
    this.erase = erase;
    this.results = []; // {name, state, file?, photo?, fill?, reason?}
    this.history = [[]]; // what Ctrl+Z goes back through
    this.place = 0;
    this.running = false;
    this.build();
    this.connectKeys();
  }

  get operations() {
    return this.history[this.place];
  }

  build() {
    const input = (id, multiple, action) => {
      const made = element("input", { type: "file", id, accept: "image/*,.tif,.tiff", multiple, hidden: true });
      made.addEventListener("change", () => {
        action([...made.files]);
        made.value = "";
      });
      return made;
    };
    const button = (content, action, attributes = {}) => element("button", { class: "plain", onclick: action, ...attributes }, content);
    const files = input("batch-files", true, (chosen) => this.take(chosen));
    const mask = input("batch-mask", false, ([file]) => this.useMask(file));
    this.fit = button("Fit", () => this.editor.fit(), { class: "plain on-stage", title: "Fit to the window (0)", hidden: true });
    this.stage = element("div", { class: "stage batch-stage" }, element("canvas", { "aria-label": "The first photo: paint over what should go" }), this.fit);
    this.undo = button(icon("undo"), () => this.travel(-1), { class: "icon", title: "Undo (Ctrl+Z)", "aria-label": "Undo" });
    this.redo = button(icon("redo"), () => this.travel(1), { class: "icon", title: "Redo (Ctrl+Shift+Z)", "aria-label": "Redo" });
    this.placing = select(PLACINGS, "scale");
    this.model = select(this.settings.models.filter((model) => model.here).map(({ key, title }) => [key, title]));
    this.size = element("input", { type: "range", min: "0", max: "100", title: "Brush size ([ and ])", "aria-label": "Brush size" });
    this.size.addEventListener("input", () => this.editor.setBrush(radiusOf(this.size.value)));
    this.run = button("Erase in all photos", () => this.fillAll(), { class: "primary", id: "batch-run" });
    this.stop = button("Cancel", () => this.cancel(), { id: "batch-cancel", hidden: true });
    this.zip = button("Download all", () => this.save(), { id: "batch-zip", hidden: true });
    this.progress = new Progress();
    this.progress.told.id = "batch-told";
    this.list = element("div", { class: "batch-list" });
    this.work = element(
      "div",
      { hidden: true },
      element("div", { class: "panel" },
        element("h2", {}, "Paint over what should go"),
        element("p", { class: "quiet" }, "On the first photo. The same place is erased in all of them."),
        this.stage,
        element("div", { class: "controls", style: "margin: 12px 0 0" },
          labelled("Brush size", this.size),
          element("div", { class: "group" }, this.undo, this.redo),
          button("Clear", () => this.mark([])),
          button("Use a mask file", () => mask.click()),
          labelled("On photos of other sizes", this.placing),
          labelled("Fill with", this.model),
          this.run, this.stop),
        this.progress.root,
      ),
      element("div", { class: "panel" }, element("div", { class: "controls" }, element("h2", { style: "flex: 1" }, "Photos"), this.zip), this.list),
    );
    this.root.append(
      element("header", {},
        element("h1", {}, "Erase the same thing from many photos"),
        element("p", { class: "quiet" }, "A date stamp, a watermark, dust on the sensor. For folders on your own disk, and for a mask per photo, use the command ", element("code", {}, "inpaint batch"), ".")),
      element("div", { class: "panel controls" }, button("Choose photos", () => files.click(), { class: "primary" }), element("span", { class: "quiet fine" }, "or drop them here"), files, mask),
      this.work,
    );
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take([...event.dataTransfer.files]);
    });
    addEventListener("beforeunload", (event) => this.uploading && event.preventDefault());
    this.editor = new Editor(this.stage, {
      onStroke: (operation) => this.mark([...this.operations, operation]),
      onView: () => (this.fit.hidden = this.editor.fitting),
      onBrush: (radius) => (this.size.value = sliderOf(radius)),
      loadLayer: (id) => server.bitmapOf(`api/photos/${this.first.id}/masks/${id}`),
    });
    this.editor.setBrush(24);
    // The plain wheel is left to the page, which scrolls; with Ctrl it zooms.
    const leave = (event) => event.ctrlKey || event.altKey || event.shiftKey || event.stopPropagation();
    this.stage.addEventListener("wheel", leave, { capture: true, passive: true });
  }

  connectKeys() {
    const { editor } = this;
    const keys = {
      "[": () => editor.stepBrush(-1),
      "]": () => editor.stepBrush(1),
      0: () => editor.fit(),
      enter: () => this.run.click(),
    };
    document.addEventListener("keydown", (event) => {
      const key = event.key.toLowerCase();
      const taken = event.target.matches(key === "enter" ? "button, a, select, summary" : "select");
      if (this.root.hidden || this.work.hidden || taken || event.altKey) return;
      let action = keys[key];
      if (event.ctrlKey || event.metaKey) action = { z: () => this.travel(event.shiftKey ? 1 : -1), y: () => this.travel(1) }[key];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  async take(files) {
    if (!files.length || this.running) return;
    this.results = files.map((file) => ({ name: file.name, file, state: "waiting" }));
    this.zip.hidden = this.progress.root.hidden = true;
    this.first = undefined;
    this.show();
    await attempt(async () => {
      for (const result of this.results) {
        if (await this.upload(result)) break;
      }
      await this.openFirst();
    });
  }

  async openFirst() {
    this.first = this.results.find((result) => result.photo)?.photo;
    if (!this.first) throw new Error("none of these files is a photo that can be read");
    this.work.hidden = false;
    await new Promise(requestAnimationFrame);
    const { width, height } = this.first.preview;
    this.editor.open(this.first, await server.bitmapOf(server.viewUrl(this.first, null, server.wholeOf(this.first), width, height)));
    this.history = [[]];
    this.place = 0;
    this.showMarks();
  }

  async upload(result) {
    try {
      result.photo ??= await server.upload(`api/photos?name=${encodeURIComponent(result.name)}`, result.file);
    } catch (error) {
      Object.assign(result, { state: "failed", reason: error.message });
      this.show();
    }
    return result.photo;
  }

  mark(operations) {
    this.history = [...this.history.slice(0, this.place + 1), operations];
    this.travel(1);
  }

  travel(steps) {
    if (!this.history[this.place + steps]) return;
    this.place += steps;
    this.showMarks();
  }

  showMarks() {
    attempt(() => this.editor.drawing.show(this.operations).then(() => this.editor.refresh()));
    this.run.disabled = this.operations.length === 0;
    this.undo.disabled = this.place === 0;
    this.redo.disabled = this.place === this.history.length - 1;
  }

  async useMask(file) {
    await attempt(async () => {
      const { id } = await server.upload(`api/photos/${this.first.id}/masks`, file);
      this.mark([...this.operations, { kind: "layer", id }]);
    });
  }

  async fillAll() {
    if (this.running) return;
    this.setRunning(true);
    this.uploading = true;
    this.list.scrollIntoView({ block: "nearest", behavior: "smooth" });
    for (const result of this.results) Object.assign(result, { fill: undefined, ...(result.photo && { state: "waiting" }) });
    const missing = this.results.filter((result) => !result.photo && result.state === "waiting");
    for (const [done, result] of missing.entries()) {
      this.progress.show(`Uploading ${done + 1} of ${missing.length}; keep this page open until that is done`, done / missing.length);
      if (this.cancelled || !(await this.upload(result))) continue;
    }
    this.uploading = false;
    await attempt(async () => {
      if (this.cancelled) return;
      const photos = this.results.filter((result) => result.photo).map((result) => result.photo.id);
      const wanted = { photos, drawing: this.editor.drawing.value, drawn_on: this.first.id, model: this.model.value, placing: this.placing.value };
      const job = await server.post("api/batches", wanted);
      for (const storage of STORAGES) storage.setItem(STORED, JSON.stringify({ photos, job: job.id }));
      await this.watch(job);
    });
    this.finish();
  }

  // Follow the job to its end; what it fills appears one by one.
  async watch(job) {
    this.setRunning(true, job);
    await server.follow(job, (next) => {
      this.job = next;
      const told = next.state === "waiting" ? "Waiting" : next.note;
      this.progress.show(`${told}; you may close this page`, next.fraction);
      for (const result of this.results) {
        const found = next.outcome.results?.[result.photo?.id];
        if (found?.fill) Object.assign(result, { state: "done", fill: found.fill });
        else if (found) Object.assign(result, { state: "failed", reason: found.error });
      }
      const running = this.results.find((result) => result.photo && result.state === "waiting");
      this.show(next.state === "running" ? running : null);
    });
  }

  finish() {
    const count = (state) => this.results.filter((result) => result.state === state).length;
    const failed = count("failed");
    this.progress.show(`${count("done")} filled${failed ? `, ${failed} not` : ""}${this.cancelled ? ", then cancelled" : ""}`, 1);
    this.zip.hidden = !count("done");
    this.setRunning(false);
    this.show();
  }

  setRunning(on, job = null) {
    if (on !== this.running) {
      this.cancelled = false;
      say(on ? "Started" : this.progress.told.textContent);
    }
    this.running = on;
    this.job = job;
    this.run.hidden = on;
    this.stop.hidden = !on;
    this.editor.locked = on;
  }

  async cancel() {
    this.cancelled = true;
    if (this.job) await attempt(() => server.cancel(this.job));
  }

  // The batch of an earlier visit to this page, if the server still has it.
  async restore() {
    let [here, job] = [[], null];
    for (const storage of STORAGES) {
      const stored = readStored(storage, STORED) ?? { photos: [] };
      const found = await Promise.all(stored.photos.map((id) => server.get(`api/photos/${id}`).catch(() => null)));
      [here, job] = [found.filter(Boolean), stored.job];
      if (here.length) break;
      storage.removeItem(STORED);
    }
    if (!here.length || this.results.length) return; // other photos were chosen meanwhile
    const results = (this.results = here.map((photo) => {
      const fill = photo.fills.at(-1);
      return { name: photo.name, photo, fill, state: fill ? "done" : "waiting" };
    }));
    await this.openFirst();
    const known = await server.get(`api/jobs/${job}`).catch(() => null);
    if (this.results !== results) return;
    if (known) await attempt(() => this.watch(known));
    this.finish();
  }

  show(running = null) {
    this.list.replaceChildren(...this.results.map((result) => this.card(result, result === running)));
  }

  card(result, running) {
    const { file, photo, fill, state, reason } = result;
    const told = running ? "being filled" : { waiting: "waiting", done: "", failed: reason }[state];
    let source = "";
    if (photo) {
      const { width, height } = photo.preview;
      const factor = Math.min(1, 360 / Math.max(width, height));
      const sides = [width, height].map((side) => Math.max(1, Math.round(side * factor)));
      source = server.viewUrl(photo, fill?.id, server.wholeOf(photo), ...sides);
    } else if (/image\/(jpeg|png|webp|gif|avif|bmp)/.test(file.type) && state !== "failed") {
      source = result.local ??= URL.createObjectURL(file); // shown before it is uploaded
    }
    const picture = source ? element("img", { src: source, alt: "", loading: "lazy" }) : element("div", { class: "blank" }, icon("photo"));
    const save = fill && element("a", { class: "button icon", href: `api/photos/${photo.id}/download?fill=${fill.id}`, download: "", title: "Download", "aria-label": `Download ${result.name}` }, icon("download"));
    return element("figure", { "data-state": state }, picture, element("figcaption", {}, element("span", {}, result.name, element("span", { class: state === "failed" ? "told bad" : "told" }, told)), save));
  }

  async save() {
    this.zip.disabled = true;
    await attempt(async () => {
      const results = this.results.filter((result) => result.fill).map((result) => [result.photo.id, result.fill.id]);
      const { path } = await server.post("api/zip", { results });
      server.saveUrl(path, "filled.zip");
    });
    this.zip.disabled = false;
  }

  shown() {
    this.editor.resize();
    this.model.value ||= this.erase.model;
  }
}
