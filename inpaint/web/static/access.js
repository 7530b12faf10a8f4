// For visitors who listen to the page or use it by keys: the arrow keys go through the tabs, and what the line of
// work on the Erase tab tells is read out when it appears, not at each of its changes.

import { find, findAll, say } from "./ui.js";

find("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const tabs = findAll("[role=tab]");
  const next = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  next.focus();
  next.click();
});

const working = find("#working");
let shown = false;
new MutationObserver(() => {
  if (shown === !working.hidden) return;
  shown = !working.hidden;
  say(shown ? find(".told", working).textContent : "Finished");
}).observe(working, { attributeFilter: ["hidden"] });
