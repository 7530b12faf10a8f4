// Small parts of the page: elements, icons, messages, menus, progress.

import * as server from "./server.js";

export const find = (selector, root = document) => root.querySelector(selector);
export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

// element("button", {class: "icon", onclick: ...}, children)
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export const ACTION_SECONDS = 10;

// `kind`: "bad" for what failed, "warning" for what may be a mistake; both stay longer, as does one with an
// `action`: the label of a button and what it does. A click removes it.
export function toast(message, kind = "", action = null) {
  const button = action && element("button", { style: "margin-left: 14px; font-weight: 650; text-decoration: underline", onclick: action[1] }, action[0]);
  const shown = element("div", { class: `toast ${kind}`, onclick: () => shown.remove() }, message, button);
  find("#toasts").replaceChildren(shown);
  setTimeout(() => shown.remove(), kind || action ? ACTION_SECONDS * 1000 : 5000);
}

// Each tab of the browser has its own work; a new one goes on from what was saved last.
export const STORAGES = [sessionStorage, localStorage];

export function readStored(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

// For screen readers, which would talk all the time if the lines that tell of every change were live.
export const say = (message) => (find("#said").textContent = message);

// Run something, and show what went wrong.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.constructor.name !== "Cancelled") toast(error.message, "bad");
    if (!("status" in error) && error.constructor.name !== "Cancelled") console.error(error);
    return undefined;
  }
}

// Two arrow keys move the focus through the buttons of a list, and around its ends.
export function connectArrows(list, back, forth, then = () => {}) {
  list.addEventListener("keydown", (event) => {
    const step = { [back]: -1, [forth]: 1 }[event.key];
    if (!step) return;
    event.preventDefault(); // nothing scrolls
    const all = findAll("button", list);
    const next = all.at((all.indexOf(event.target) + step) % all.length);
    next.focus();
    then(next);
  });
}

// A menu beside its button: above it where there is room, else below.
export function connectMenu(button, menu, onOpen = () => {}) {
  button.popoverTargetElement = menu;
  const place = () => {
    const anchor = button.getBoundingClientRect();
    const { width, height } = menu.getBoundingClientRect();
    const left = Math.min(Math.max(8, anchor.left + anchor.width / 2 - width / 2), innerWidth - width - 8);
    const above = anchor.top - height - 8;
    menu.style.left = `${left}px`;
    menu.style.top = `${above >= 8 ? above : Math.min(anchor.bottom + 8, innerHeight - height - 8)}px`;
  };
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    onOpen();
    requestAnimationFrame(place); // it has its size then, and is not painted yet
  });
}

// A line that shows how far a job is, hidden while there is none.
export class Progress {
  constructor() {
    this.bar = element("span", { class: "bar-line" }, element("i"));
    this.told = element("span");
    this.root = element("div", { class: "progress", hidden: true }, this.bar, this.told);
  }

  show(told, fraction) {
    this.root.hidden = false;
    this.told.textContent = told;
    setBar(this.bar, fraction);
  }

  async follow(job) {
    const started = performance.now();
    say("Started");
    try {
      return await server.follow(job, (next) => this.show(tellJob(next, started), next.fraction));
    } finally {
      this.root.hidden = true;
      say("Finished");
    }
  }
}

// What a tab shows as long as no photo is open.
export function askForPhoto(notice, told) {
  const open = element("button", { class: "plain", onclick: () => find("[data-tab=erase]").click() }, "Go to the Erase tab");
  notice.hidden = !told;
  notice.replaceChildren(told, told ? open : "");
}

export function setBar(bar, fraction) {
  bar.classList.toggle("unknown", fraction === null || fraction === undefined);
  bar.style.setProperty("--done", fraction ?? 0);
}

// What a job does, for a person.
export function tellJob(job, started) {
  if (job.state === "waiting") return job.ahead ? `Waiting, ${job.ahead} before you` : "Waiting";
  const seconds = (performance.now() - started) / 1000;
  return `${job.note || "Starting"}${seconds >= 1 ? `, ${seconds.toFixed(0)} s` : ""}`;
}

export const figure = (image, caption) => element("figure", {}, image, element("figcaption", {}, caption));

export const labelled = (text, control) => element("label", {}, text, control);

export function select(options, value, onchange) {
  const made = element("select", { onchange: () => onchange?.(made.value) });
  for (const [key, title] of options) made.append(element("option", { value: key }, title));
  made.value = value ?? options[0]?.[0] ?? "";
  return made;
}
