// Keys of the Erase tab. Gradio's editor has buttons only: a key presses the button.
//   Ctrl+Enter run   Ctrl+Z undo   Ctrl+Shift+Z or Ctrl+Y redo   B brush   E eraser   [ ] brush size
(() => {
  const STEP = 1.25; // one press makes the brush a quarter larger, or smaller

  const editor = () => {
    const found = document.querySelector("#editor");
    return found && found.offsetParent !== null ? found : null;
  };
  const press = (label) => {
    const button = editor()?.querySelector(`button[aria-label="${label}"]`);
    if (button && !button.disabled) button.click();
  };

  const resize = async (factor) => {
    if (!editor()) return;
    const slider = () => editor()?.querySelector("input[type=range]");
    const wasOpen = Boolean(slider());
    if (!wasOpen) press("Brush Size");
    await new Promise((done) => setTimeout(done, 50));
    const range = slider();
    if (range) {
      const wanted = Math.round(Number(range.value) * factor) + Math.sign(factor - 1);
      range.value = Math.min(Number(range.max), Math.max(Number(range.min), wanted));
      range.dispatchEvent(new Event("input", { bubbles: true }));
      range.dispatchEvent(new Event("change", { bubbles: true }));
    }
    if (!wasOpen) press("Brush Size");
  };

  document.addEventListener("keydown", (event) => {
    const inText = event.target.matches?.("input:not([type=range]), textarea, select, [contenteditable]");
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (inText && !(command && key === "enter")) return;
    const actions = command
      ? {
          enter: () => document.querySelector("#erase:not([disabled])")?.click(),
          z: () => press(event.shiftKey ? "Redo" : "Undo"),
          y: () => press("Redo"),
        }
      : {
          b: () => press("Brush"),
          e: () => press("Erase"),
          "[": () => resize(1 / STEP),
          "]": () => resize(STEP),
        };
    if (!actions[key] || !editor() || event.altKey) return;
    event.preventDefault();
    actions[key]();
  });
})();
