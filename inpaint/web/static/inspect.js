// The Inspect tab: what a model's prior predicts, where it attends, what it changes in a fill.

import * as server from "./server.js";
import { askForPhoto, attempt, element, figure, find, labelled, Progress, select } from "./ui.js";

const HIDINGS = [
  ["random", "random patches"],
  ["mixed", "a training mask and random patches"],
  ["hole", "what was erased"],
];

export class InspectTab {
  constructor(root, settings, erase) {
    this.root = root;
    this.settings = settings;
    this.erase = erase;
    this.build();
  }

  build() {
    const models = this.settings.models.filter((model) => model.here && model.prior !== false);
    this.model = select(models.map(({ key, title }) => [key, `${title} (${key})`]));
    this.model.id = "inspect-model";
    this.look = element("button", { class: "primary", id: "look", onclick: () => this.inspect() }, "Inspect the result");
    this.progress = new Progress();
    this.notice = element("p", { class: "notice", id: "inspect-notice" });
    this.found = element("div", { id: "inspect-found" });
    this.hiding = select(HIDINGS, "random");
    this.seed = element("input", { type: "number", min: "0", value: "0", style: "width: 90px" });
    this.patches = element("div", { id: "patches" });
    this.root.append(
      element("header", {},
        element("h1", {}, "How a fill came about"),
        element("p", { class: "quiet" }, "A masked autoencoder, the prior, first predicts what the hole may hold; a generator then paints it. Both are run again here on the whole photo, made small.")),
      element("div", { class: "panel" }, element("div", { class: "controls" }, labelled("Model", this.model), this.look), this.notice, this.progress.root),
      this.found,
      (this.game = element("div", { class: "panel" },
        element("h2", {}, "Hide patches of the photo"),
        element("p", { class: "quiet" }, "The prior predicts them from the rest: the task it learned from."),
        element("div", { class: "controls" }, labelled("Hide", this.hiding), labelled("Seed", this.seed), element("button", { class: "plain", id: "hide", onclick: () => this.hide() }, "Predict them")),
        this.patches)),
    );
  }

  shown() {
    const { photo, state } = this.erase;
    const fill = photo && state.fill;
    this.look.disabled = !fill;
    this.game.hidden = !photo;
    if (photo?.id !== this.photoId) {
      this.photoId = photo?.id;
      this.found.replaceChildren(); // they were about another photo
      this.patches.replaceChildren();
    }
    askForPhoto(this.notice, fill ? "" : photo ? "Erase something first, then inspect that result." : "Open a photo on the Erase tab first.");
    if (fill && fill !== this.seen) {
      const model = this.erase.fillOf(fill).model;
      if ([...this.model.options].some((option) => option.value === model)) this.model.value = model;
      this.inspect();
    }
  }

  async inspect() {
    const { photo, state } = this.erase;
    this.seen = state.fill;
    this.look.disabled = true;
    await attempt(async () => {
      const wanted = { model: this.model.value, fill: state.fill };
      const found = await this.progress.follow(await server.post(`api/photos/${photo.id}/inspect`, wanted));
      if (photo.id === this.photoId) this.show(photo, found);
    });
    this.look.disabled = !this.erase.state.fill;
  }

  show(photo, found) {
    const image = (name) => element("img", { src: `api/photos/${photo.id}/files/${found.images[name]}`, alt: name.replaceAll("_", " "), id: `see-${name}` });
    const scale = element("div", {}, element("div", { class: "scale" }), element("div", { class: "scale-ends" }, element("span", {}, "0"), element("span", {}, `${found.difference_scale} of 255 levels`)));
    const gates = Object.entries(found.gates).map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", { class: "number" }, value.toFixed(3))));
    const difference = figure(image("difference"), [`What the prior changes, amplified: ${found.mean_difference} levels on average in the hole`, scale]);
    this.found.replaceChildren(
      element("div", { class: "panel" },
        element("h2", {}, "What the prior predicts"),
        element("div", { class: "grid" },
          figure(image("masked"), "Given to the network"),
          figure(image("reconstruction"), "Predicted patches, the others as they are"),
          figure(image("original"), "The photo before")),
      ),
      element("div", { class: "panel" },
        element("h2", {}, "What it changes in the fill"),
        element("div", { class: "grid" }, figure(image("with_prior"), "Filled with the prior"), figure(image("without_prior"), "Same weights, prior left out"), difference),
        element("details", {}, element("summary", {}, "How much each injection point lets in"), element("table", {}, gates),
          element("p", { class: "quiet" }, "The learned factors (alphas) that the prior's features and attention are multiplied with; 0 lets nothing in.")),
      ),
      found.layers ? this.attentionPanel(photo, found, image("masked")) : null,
    );
  }

  attentionPanel(photo, found, masked) {
    const word = found.similarity ? "similarity" : "attention";
    masked.id = "points";
    const heat = element("img", { id: "heat", alt: `${word} of the point`, hidden: true });
    const told = element("figcaption", { id: "heat-told" }, `Click a point in the image on the left to see its ${word}.`);
    const layers = [["", "average of all layers"], ...Array.from({ length: found.layers }, (_, layer) => [layer, `layer ${layer + 1}`])];
    let point = null;
    const see = () => point && attempt(async () => {
      const query = new URLSearchParams({ ...point, ...(layer.value !== "" && { layer: layer.value }) });
      const seen = await server.get(`api/photos/${photo.id}/attention?${query}`);
      heat.src = `api/photos/${photo.id}/files/${seen.image}`;
      heat.hidden = false;
      const percent = (share) => `${(100 * share).toFixed(1)} %`;
      told.textContent =
        `From this point ${seen.in_hole ? "in the hole" : "outside the hole"}, ${percent(seen.known_share)} of the ${word} is with patches that are wholly known. ` +
        `One patch has ${percent(seen.largest)} at most; an even share is ${percent(1 / found.tokens)}.`;
    });
    const layer = select(layers, "", see);
    layer.id = "layer";
    masked.addEventListener("click", (event) => {
      const box = masked.getBoundingClientRect();
      point = {
        x: Math.max(0, Math.round(((event.clientX - box.left) / box.width) * found.width)),
        y: Math.max(0, Math.round(((event.clientY - box.top) / box.height) * found.height)),
      };
      see();
    });
    const pick = figure(masked, "Click a point");
    pick.className = "pick";
    return element("div", { class: "panel" },
      element("h2", {}, found.similarity ? "Which patches the prior takes for similar" : "Where the prior attends"),
      element("p", { class: "quiet" }, found.similarity
        ? "This prior is made of convolutions, which do not attend: the similarity of its features takes that place."
        : "The weights that a point's patch gives to all others, in each layer of the decoder."),
      element("div", { class: "controls" }, found.layers > 1 ? labelled("Layer", layer) : null),
      element("div", { class: "grid two" }, pick, element("figure", {}, heat, told)));
  }

  async hide() {
    const { photo, state } = this.erase;
    await attempt(async () => {
      const wanted = { model: this.model.value, fill: state.fill, hiding: this.hiding.value, seed: Number(this.seed.value) || 0 };
      const { rows } = await this.progress.follow(await server.post(`api/photos/${photo.id}/patches`, wanted));
      if (photo.id !== this.photoId) return;
      const titles = ["Shown", "Predicted", "Together"];
      this.patches.replaceChildren(
        ...rows.map(({ ratio, images }) =>
          element("div", {},
            ratio < 1 ? element("h2", {}, `${Math.round(100 * ratio)} % hidden`) : null,
            element("div", { class: "grid", style: "margin-bottom: 14px" }, images.map((key, index) => figure(element("img", { src: `api/photos/${photo.id}/files/${key}`, alt: titles[index] }), titles[index])))),
        ),
      );
    });
  }
}
