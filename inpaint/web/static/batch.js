// The Batch tab: many photos, one mask that is drawn on the first; each is filled at its own size.

import { Editor } from "./editor.js";
import * as server from "./server.js";
import { attempt, barLine, element, icon, labelled, select, toast } from "./ui.js";

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
    this.files = [];
    this.results = [];
    this.operations = [];
    this.build();
  }

  build() {
    this.input = element("input", { type: "file", accept: "image/*,.tif,.tiff", multiple: true, hidden: true });
    this.input.addEventListener("change", () => {
      this.take([...this.input.files]);
      this.input.value = "";
    });
    this.maskInput = element("input", { type: "file", accept: "image/*,.tif,.tiff", hidden: true, id: "batch-mask" });
    this.maskInput.addEventListener("change", () => {
      this.useMask(this.maskInput.files[0]);
      this.maskInput.value = "";
    });
    this.input.id = "batch-files";
    this.stage = element("div", { class: "stage batch-stage" }, element("canvas", { "aria-label": "The first photo: paint over what should go" }));
    this.placing = select(PLACINGS, "scale");
    this.model = select(this.settings.models.filter((model) => model.here).map(({ key, title }) => [key, title]));
    this.run = element("button", { class: "primary", id: "batch-run", onclick: () => this.fillAll() }, "Erase in all photos");
    this.stop = element("button", { class: "plain", id: "batch-cancel", hidden: true, onclick: () => this.cancel() }, "Cancel");
    this.zip = element("button", { class: "plain", id: "batch-zip", hidden: true, onclick: () => this.save() }, "Download all");
    this.bar = barLine();
    this.told = element("span", { id: "batch-told", role: "status" });
    this.list = element("div", { class: "batch-list" });
    const button = (text, symbol, action) => element("button", { class: "plain", onclick: action }, text);
    this.work = element(
      "div",
      { hidden: true },
      element("div", { class: "panel" },
        element("h2", {}, "Paint over what should go"),
        element("p", { class: "quiet" }, "On the first photo. The same place is erased in all of them."),
        this.stage,
        element("div", { class: "controls", style: "margin: 12px 0 0" },
          button("Clear", "clear", () => this.mark([])),
          button("Undo", "undo", () => this.mark(this.operations.slice(0, -1))),
          button("Use a mask file", "open", () => this.maskInput.click()),
          labelled("On photos of other sizes", this.placing),
          labelled("Fill with", this.model),
          this.run, this.stop),
        (this.progress = element("div", { class: "progress", hidden: true }, this.bar.bar, this.told)),
      ),
      element("div", { class: "panel" }, element("div", { class: "controls" }, element("h2", { style: "flex: 1" }, "Photos"), this.zip), this.list),
    );
    this.root.append(
      element("header", {},
        element("h1", {}, "Erase the same thing from many photos"),
        element("p", { class: "quiet" }, "A date stamp, a watermark, dust on the sensor. For folders on your own disk, and for a mask per photo, use the command ", element("code", {}, "inpaint batch"), ".")),
      element("div", { class: "panel controls" }, element("button", { class: "primary", onclick: () => this.input.click() }, "Choose photos"), element("span", { class: "quiet" }, "or drop them here"), this.input, this.maskInput),
      this.work,
    );
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take([...event.dataTransfer.files]);
    });
    this.editor = new Editor(this.stage, {
      onStroke: (operation) => this.mark([...this.operations, operation], true),
      loadLayer: (id) => server.bitmapOf(`api/photos/${this.first.id}/masks/${id}`),
    });
  }

  async take(files) {
    if (!files.length || this.running) return;
    this.files = files;
    this.results = files.map((file) => ({ file, state: "waiting" }));
    this.zip.hidden = true;
    this.first = undefined;
    this.show();
    await attempt(async () => {
      for (const result of this.results) {
        this.first = await this.open(result);
        if (this.first) break;
      }
      if (!this.first) throw new Error("none of these files is a photo that can be read");
      this.work.hidden = false;
      await new Promise(requestAnimationFrame);
      const { width, height } = this.first.preview;
      this.editor.open(this.first, await server.bitmapOf(server.viewUrl(this.first, null, server.wholeOf(this.first), width, height)));
      this.mark([]);
    });
  }

  async open(result) {
    try {
      result.photo ??= await server.upload(`api/photos?name=${encodeURIComponent(result.file.name)}`, result.file);
      return result.photo;
    } catch (error) {
      Object.assign(result, { state: "failed", reason: error.message });
      this.show();
      return undefined;
    }
  }

  mark(operations, drawn = false) {
    this.operations = operations;
    if (drawn) this.editor.drawing.operations = operations;
    else attempt(() => this.editor.drawing.show(operations).then(() => this.editor.refresh()));
    this.run.disabled = operations.length === 0;
  }

  async useMask(file) {
    await attempt(async () => {
      const { id } = await server.upload(`api/photos/${this.first.id}/masks`, file);
      this.mark([...this.operations, { kind: "layer", id }]);
    });
  }

  async fillAll() {
    if (this.running) return;
    this.running = true;
    this.cancelled = false;
    this.setRunning(true);
    const wanted = { drawing: { operations: this.operations, grow: 0 }, drawn_on: this.first.id, model: this.model.value, placing: this.placing.value };
    let done = 0;
    for (const result of this.results) {
      if (this.cancelled) break;
      this.bar.set(done / this.results.length);
      this.told.textContent = `${done} of ${this.results.length} photos`;
      Object.assign(result, { state: "running", reason: "", fill: undefined });
      this.show();
      await this.fillOne(result, wanted);
      done++;
      this.show();
    }
    const filled = this.results.filter((result) => result.state === "done").length;
    const failed = this.results.filter((result) => result.state === "failed").length;
    this.bar.set(1);
    this.told.textContent = `${filled} filled${failed ? `, ${failed} not` : ""}${this.cancelled ? ", then cancelled" : ""}`;
    this.zip.hidden = filled === 0;
    this.running = false;
    this.setRunning(false);
  }

  async fillOne(result, wanted) {
    try {
      if (!(await this.open(result))) return;
      const job = await server.post(`api/photos/${result.photo.id}/fills`, wanted);
      result.fill = await server.follow(job, (next) => (this.job = next));
      result.state = "done";
    } catch (error) {
      const stopped = error instanceof server.Cancelled;
      Object.assign(result, stopped ? { state: "waiting" } : { state: "failed", reason: error.message });
    }
    this.job = null;
  }

  async cancel() {
    this.cancelled = true;
    if (this.job) await attempt(() => server.cancel(this.job));
  }

  setRunning(on) {
    this.progress.hidden = false;
    this.run.hidden = on;
    this.stop.hidden = !on;
    this.editor.locked = on;
  }

  show() {
    this.list.replaceChildren(...this.results.map((result) => this.card(result)));
  }

  card({ file, photo, fill, state, reason }) {
    const told = { waiting: "waiting", running: "being filled", done: "", failed: reason }[state];
    let picture = element("div");
    if (photo) {
      const { width, height } = photo.preview;
      const factor = Math.min(1, 360 / Math.max(width, height));
      const sides = [width, height].map((side) => Math.max(1, Math.round(side * factor)));
      picture = element("img", { src: server.viewUrl(photo, fill?.id, server.wholeOf(photo), ...sides), alt: "", loading: "lazy" });
    }
    const name = element("span", {}, file.name);
    const save = fill && element("a", { href: `api/photos/${photo.id}/download?fill=${fill.id}`, download: "", "aria-label": `Download ${file.name}` }, icon("download"));
    return element("figure", { "data-state": state }, picture, element("figcaption", {}, name, element("div", { class: state === "failed" ? "bad" : "" }, told), save));
  }

  async save() {
    await attempt(async () => {
      const results = this.results.filter((result) => result.fill).map((result) => [result.photo.id, result.fill.id]);
      server.saveBlob(await server.postForFile("api/zip", { results }), "filled.zip");
    });
  }

  shown() {
    this.editor.resize();
    this.model.value ||= this.erase.model;
    if (!this.files.length) this.root.querySelector("button").focus({ preventScroll: true });
  }
}
