// The Backbones tab: two classification networks on the photo, side by side.

import * as server from "./server.js";
import { askForPhoto, attempt, element, figure, labelled, Progress, select } from "./ui.js";

const PAIR = ["convnext_tiny", "convnextv2_tiny"];

export class BackbonesTab {
  constructor(root, settings, erase) {
    this.root = root;
    this.erase = erase;
    const titles = settings.backbones.map(({ name, title, parameters }) => [name, `${title}, ${parameters} M`]);
    this.choices = PAIR.map((name) => select(titles, name));
    this.choices.forEach((choice, index) => (choice.id = `backbone-${index}`));
    this.look = element("button", { class: "primary", id: "backbone-run", onclick: () => this.compare() }, "Compare");
    this.progress = new Progress();
    this.notice = element("p", { class: "notice" });
    this.columns = element("div", { class: "grid two", id: "backbone-columns" });
    this.chart = element("div", { class: "chart", id: "road-chart" });
    this.road = element("details", { class: "panel", id: "road" }, element("summary", {}, "From ResNet-50 to ConvNeXt-T, step by step"), this.chart);
    this.road.addEventListener("toggle", () => this.road.open && this.draw());
    root.append(
      element("header", {},
        element("h1", {}, "Backbones side by side"),
        element("p", { class: "quiet" }, "The photo through two classification networks: ConvNeXt V1 and V2 at first. Where channels of a stage say the same, their distance falls towards 0 (feature collapse); the response normalisation of V2 was made against that.")),
      element("div", { class: "panel" },
        element("div", { class: "controls" }, labelled("Left", this.choices[0]), labelled("Right", this.choices[1]), this.look), this.notice, this.progress.root),
      this.columns,
      this.road,
    );
  }

  shown() {
    askForPhoto(this.notice, this.erase.photo ? "" : "Open a photo on the Erase tab first.");
    this.look.disabled = !this.erase.photo;
    if (this.erase.photo?.id === this.photoId) return;
    this.photoId = this.erase.photo?.id;
    this.columns.replaceChildren(); // they were about another photo
  }

  async compare() {
    const { photo } = this.erase;
    this.look.disabled = true;
    await attempt(async () => {
      const job = await server.post(`api/photos/${photo.id}/backbones`, { names: this.choices.map((choice) => choice.value) });
      const { columns } = await this.progress.follow(job);
      if (photo.id === this.photoId) this.columns.replaceChildren(...columns.map((column) => this.column(photo, column)));
    });
    this.look.disabled = false;
  }

  column(photo, { title, weights, missing, guesses, stages, facts }) {
    const rows = Object.entries(facts).map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", { class: "number" }, value)));
    const guess = ([name, probability]) =>
      element("div", { class: "guess" }, name, element("span", {}, `${(100 * probability).toFixed(1)} %`),
        element("div", { class: "meter" }, element("i", { style: `width: ${100 * probability}%` })));
    const stage = ({ image, shape, distance, random_distance: random }, index) =>
      figure(element("img", { class: "pixelated", src: `api/photos/${photo.id}/files/${image}`, alt: `Stage ${index + 1}` }), [
        element("b", {}, `Stage ${index + 1}: `), `${shape[0]} channels of ${shape[1]} x ${shape[2]}`,
        element("div", {}, `channel distance ${distance.toFixed(3)}; random weights ${random.toFixed(3)}`),
        element("div", { class: "meter" }, element("i", { style: `width: ${Math.min(100, 200 * distance)}%` })),
      ]);
    const origin = weights
      ? element("p", { class: "notice" }, `Weights: ${weights}`)
      : element("p", { class: "notice" }, element("b", {}, "Random weights: "), missing);
    return element("div", { class: "panel" },
      element("h2", {}, title), origin,
      guesses.length ? element("div", {}, guesses.map(guess)) : null,
      element("div", { class: "grid two", style: "margin: 14px 0" }, stages.map(stage)),
      element("table", {}, rows));
  }

  async draw() {
    if (this.chart.childElementCount) return;
    this.chart.textContent = "Building and counting 17 networks ...";
    await attempt(async () => {
      const { chart } = await server.get("api/roadmap");
      this.chart.innerHTML = chart;
    });
  }
}
