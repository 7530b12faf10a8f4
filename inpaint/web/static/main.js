// The page: tabs, and what they share.

import { BackbonesTab } from "./backbones.js";
import { BatchTab } from "./batch.js";
import { EraseTab } from "./erase.js";
import { InspectTab } from "./inspect.js";
import { get } from "./server.js";
import { attempt, connectArrows, find, findAll } from "./ui.js";

function showTab(name) {
  for (const tab of findAll("[data-tab]")) {
    const chosen = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(chosen));
    find(`#${tab.dataset.tab}`).hidden = !chosen;
  }
  tabs[name]?.shown?.();
}

const tabs = {};

async function start() {
  const settings = await get("api/settings");
  const erase = new EraseTab(settings);
  Object.assign(tabs, {
    erase,
    batch: new BatchTab(find("#batch"), settings, erase),
    inspect: new InspectTab(find("#inspect"), settings, erase),
    backbones: new BackbonesTab(find("#backbones"), settings, erase),
  });
  showTab(find("[aria-selected=true]").dataset.tab);
  window.inpaint = tabs; // for the console
  await erase.restore();
  attempt(() => tabs.batch.restore());
  document.body.dataset.ready = "true";
}

async function begin(event) {
  await attempt(start);
  if (!tabs.erase) choose.addEventListener("click", begin, { once: true }); // tries again
  else if ((event || isWanted) && !tabs.erase.photo) choose.click();
}

// Tabs and the first button answer at once, even while the server has yet to tell its settings.
for (const tab of findAll("[data-tab]")) tab.addEventListener("click", () => showTab(tab.dataset.tab));
connectArrows(find("[role=tablist]"), "ArrowLeft", "ArrowRight", (tab) => tab.click());
const choose = find("#choose");
let isWanted = false; // a photo is to be chosen as soon as that is possible
choose.addEventListener("click", () => (isWanted ||= !tabs.erase));
await begin();
