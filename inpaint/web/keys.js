// Keys: Ctrl/Cmd+Enter runs, Ctrl/Cmd+Z undoes a stroke, [ and ] change the brush.
document.addEventListener("keydown", (event) => {
  const typing = /^(input|textarea|select)$/i.test(event.target.tagName || "");
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key === "Enter") document.querySelector("#erase")?.click();
});
