// The canvas: shows a photo and what is marked on it; pans, zooms, paints, selects, compares.
// Mouse: wheel zooms, Alt or Shift + wheel sizes the brush, Space or the middle button drags.
// Touch: one finger paints, two fingers pan and zoom.

import { canvasOf, Drawing, drawLine, MARK } from "./drawing.js";

const OPACITY = 0.5;
const MOST_ZOOM = 40; // screen pixels per pixel of the preview
const LEAST_SEEN = 64; // CSS pixels of the photo, wherever it is dragged
const SIZE_SHOWN = 900; // ms that the brush is shown after its slider was moved
const WHEEL_SPEED = 0.0015;
const DETAIL_DELAY = 180; // ms without movement before a sharper view is asked for

export class Editor {
  // `stage` holds the canvas and fills its parent. Callbacks: onStroke(operation), onSelect(rough),
  // onBrush(radius), loadLayer(id), loadDetail(box, width, height, before).
  constructor(stage, callbacks) {
    this.stage = stage;
    this.callbacks = callbacks;
    this.canvas = stage.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.photo = null;
    this.tool = "brush";
    this.brush = 24; // radius on the screen, in CSS pixels
    this.view = { scale: 1, x: 0, y: 0 };
    this.pointers = new Map();
    this.stroke = null;
    this.hover = null;
    this.comparing = false; // all of what it is compared with
    this.divider = null; // or only what is left of this share of the width
    this.spaceHeld = false;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(stage);
    this.resize();
  }

  // -- the photo ----------------------------------------------------------------------------------

  open(photo, preview) {
    const same = this.photo?.width === photo.width && this.photo?.height === photo.height && this.photo?.id === photo.id;
    this.photo = photo;
    this.base = preview;
    this.now = { canvas: copyOf(preview), patches: [], detail: null };
    this.before = { canvas: copyOf(preview), patches: [], detail: null };
    this.drawing = new Drawing(photo, this.callbacks.loadLayer);
    this.stroke = this.lastPoint = null;
    if (!same) this.fit();
    this.refresh();
  }

  close() {
    this.photo = this.drawing = null;
    this.refresh();
  }

  // Patches are {bitmap, x, y} in pixels of the preview, the oldest first.
  showPatches(now, before) {
    let changed = false;
    for (const [layer, patches] of [[this.now, now], [this.before, before]]) {
      if (patches.length === layer.patches.length && patches.every((patch, index) => patch === layer.patches[index])) continue;
      Object.assign(layer, { patches, detail: null });
      const { canvas } = layer;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(this.base, 0, 0);
      for (const { bitmap, x, y } of patches) {
        context.clearRect(x, y, bitmap.width, bitmap.height);
        context.drawImage(bitmap, x, y);
      }
      changed = true;
    }
    if (changed) this.sharpen();
    this.refresh();
  }

  // -- the view -----------------------------------------------------------------------------------

  resize() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const wasFitting = this.fitting;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.size = { width, height };
    if (wasFitting !== false && this.photo) this.fit();
    this.refresh();
  }

  fit() {
    if (!this.photo || !this.size) return;
    this.view = this.fitted();
    this.fitting = true;
    this.moved();
  }

  fitted() {
    const style = getComputedStyle(this.stage);
    const [top, right, bottom, left] = ["top", "right", "bottom", "left"].map(
      (side) => parseFloat(style.getPropertyValue(`--room-${side}`)) || 12,
    );
    const { width, height } = this.photo.preview;
    const room = { width: this.size.width - left - right, height: this.size.height - top - bottom };
    const scale = Math.min(room.width / width, room.height / height, MOST_ZOOM);
    return { scale, x: left + (room.width - width * scale) / 2, y: top + (room.height - height * scale) / 2 };
  }

  zoom(factor, at = { x: this.size.width / 2, y: this.size.height / 2 }) {
    if (!this.photo) return;
    const least = Math.min(this.fitted().scale / 2, this.view.scale);
    const scale = Math.min(MOST_ZOOM, Math.max(least, this.view.scale * factor));
    const real = scale / this.view.scale;
    this.view = { scale, x: at.x - (at.x - this.view.x) * real, y: at.y - (at.y - this.view.y) * real };
    this.fitting = false;
    this.hold();
    this.moved();
  }

  pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.fitting = false;
    this.hold();
    this.moved();
  }

  // A part of the photo stays in sight.
  hold() {
    const { view, size } = this;
    const { width, height } = this.photo.preview;
    for (const [axis, photo, room] of [["x", width * view.scale, size.width], ["y", height * view.scale, size.height]]) {
      const part = Math.min(LEAST_SEEN, photo);
      view[axis] = Math.min(room - part, Math.max(part - photo, view[axis]));
    }
  }

  moved() {
    this.callbacks.onView?.(this.view.scale * (this.photo ? this.photo.preview.width / this.photo.width : 1));
    this.refresh();
    clearTimeout(this.detailTimer);
    this.detailTimer = setTimeout(() => this.sharpen(), DETAIL_DELAY);
  }

  // Ask for the visible part at screen resolution where the preview has fewer pixels than the photo.
  sharpen() {
    const photo = this.photo;
    const ticket = (this.detailTicket = {});
    if (!photo || !this.callbacks.loadDetail || photo.preview.width >= photo.width) return;
    const ratio = window.devicePixelRatio || 1;
    if (this.view.scale * ratio < 1.1) return;
    const scale = photo.width / photo.preview.width;
    const [left, top] = this.toPreview({ x: 0, y: 0 });
    const [right, bottom] = this.toPreview({ x: this.size.width, y: this.size.height });
    const box = {
      left: Math.max(0, Math.floor(left * scale)),
      top: Math.max(0, Math.floor(top * scale)),
      right: Math.min(photo.width, Math.ceil(right * scale)),
      bottom: Math.min(photo.height, Math.ceil(bottom * scale)),
    };
    if (box.right <= box.left || box.bottom <= box.top) return;
    const factor = Math.min(1, (this.view.scale * ratio) / scale, 4000 / (box.right - box.left), 4000 / (box.bottom - box.top));
    const [width, height] = [box.right - box.left, box.bottom - box.top].map((side) => Math.max(1, Math.round(side * factor)));
    const place = { x: box.left / scale, y: box.top / scale, width: (box.right - box.left) / scale, height: (box.bottom - box.top) / scale };
    const sharpenLayer = async (layer) => {
      const bitmap = await this.callbacks.loadDetail(box, width, height, layer === this.before);
      if (ticket !== this.detailTicket || !bitmap) return;
      layer.detail = { bitmap, ...place };
      this.refresh();
    };
    sharpenLayer(this.now);
    if (this.comparing || this.divider !== null) sharpenLayer(this.before);
  }

  // The screen's CSS pixels to pixels of the preview, and of the photo.
  toPreview({ x, y }) {
    return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
  }

  toPhoto(point) {
    const [x, y] = this.toPreview(point);
    const scale = this.photo.width / this.photo.preview.width;
    return [round(x * scale), round(y * (this.photo.height / this.photo.preview.height))];
  }

  get radius() {
    return Math.max(0.5, round((this.brush / this.view.scale) * (this.photo.width / this.photo.preview.width)));
  }

  setBrush(radius) {
    this.brush = Math.min(radiusOf(100), Math.max(radiusOf(0), radius));
    this.callbacks.onBrush?.(this.brush);
    this.refresh();
  }

  stepBrush(steps) {
    this.setBrush(this.brush * 1.25 ** steps);
  }

  // In the middle of the stage, where no pointer shows it while its slider is moved.
  showBrush() {
    clearTimeout(this.sizing);
    this.sizing = setTimeout(() => {
      this.sizing = null;
      this.refresh();
    }, SIZE_SHOWN);
    this.refresh();
  }

  setComparing(on) {
    this.comparing = on;
    if (on) this.sharpen();
    this.refresh();
  }

  setDivider(share) {
    this.divider = share;
    if (share !== null) this.sharpen();
    this.refresh();
  }

  setTool(tool) {
    this.tool = tool;
    this.refresh();
  }

  // -- drawing on the screen ----------------------------------------------------------------------

  refresh() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const context = this.context;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.canvas.style.cursor = this.cursor;
    if (!this.photo) return;
    const { scale, x, y } = this.view;
    const { width, height } = this.photo.preview;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    context.imageSmoothingEnabled = scale * ratio < 4;
    context.imageSmoothingQuality = "high";
    this.paintLayer(context, this.comparing ? this.before : this.now);
    if (this.divider !== null) {
      context.save();
      context.beginPath();
      context.rect(0, 0, width * this.divider, height);
      context.clip();
      context.clearRect(0, 0, width, height);
      this.paintLayer(context, this.before);
      context.restore();
    } else if (!this.comparing) {
      this.paintMarks(context);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.divider !== null) this.paintDivider(context);
    else this.paintCursor(context);
  }

  paintLayer(context, { canvas, detail }) {
    context.drawImage(canvas, 0, 0);
    if (detail) context.drawImage(detail.bitmap, detail.x, detail.y, detail.width, detail.height);
  }

  paintMarks(context) {
    const { canvas, grown } = this.drawing;
    context.globalAlpha = grown && !this.stroke ? OPACITY / 2 : OPACITY;
    context.drawImage(canvas, 0, 0);
    if (grown && !this.stroke) {
      context.globalAlpha = OPACITY;
      context.drawImage(grown, 0, 0);
    }
    const selecting = this.stroke?.rough;
    if (selecting) {
      context.globalAlpha = 1;
      const scale = this.drawing.scale;
      if (selecting === "scribble") {
        context.globalAlpha = 0.8;
        drawLine(context, this.stroke.points, this.stroke.radius, scale);
      } else {
        const [[x0, y0], [x1, y1]] = [this.stroke.points[0], this.stroke.points.at(-1)];
        context.strokeStyle = MARK;
        context.lineWidth = 2 / this.view.scale;
        context.setLineDash([6 / this.view.scale, 4 / this.view.scale]);
        context.strokeRect(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
        context.setLineDash([]);
      }
    }
    context.globalAlpha = 1;
  }

  paintDivider(context) {
    const x = this.view.x + this.divider * this.photo.preview.width * this.view.scale;
    const top = Math.max(0, this.view.y);
    const bottom = Math.min(this.size.height, this.view.y + this.photo.preview.height * this.view.scale);
    context.fillStyle = "rgba(0,0,0,.35)";
    context.fillRect(x - 2, top, 4, bottom - top);
    context.fillStyle = "#fff";
    context.fillRect(x - 1, top, 2, bottom - top);
    context.beginPath();
    context.arc(x, (top + bottom) / 2, 14, 0, 2 * Math.PI);
    context.shadowColor = "rgba(0,0,0,.4)";
    context.shadowBlur = 6;
    context.fill();
    context.shadowBlur = 0;
    context.strokeStyle = "#333";
    context.lineWidth = 1.5;
    context.beginPath();
    for (const side of [-1, 1]) {
      context.moveTo(x + 4 * side, (top + bottom) / 2 - 4);
      context.lineTo(x + 8 * side, (top + bottom) / 2);
      context.lineTo(x + 4 * side, (top + bottom) / 2 + 4);
    }
    context.stroke();
  }

  paintCursor(context) {
    const at = this.hover ?? (this.sizing && { x: this.size.width / 2, y: this.size.height / 2 });
    if (!at || this.panning || !["brush", "eraser", "scribble"].includes(this.tool)) return;
    context.beginPath();
    context.arc(at.x, at.y, this.brush, 0, 2 * Math.PI);
    for (const [colour, width] of [["rgba(0,0,0,.55)", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
    if (this.tool === "eraser") {
      context.beginPath();
      context.moveTo(at.x - 4, at.y);
      context.lineTo(at.x + 4, at.y);
      context.stroke();
    }
  }

  get panning() {
    return this.spaceHeld || this.drag !== undefined;
  }

  get cursor() {
    if (!this.photo) return "default";
    if (this.divider !== null) return "ew-resize";
    if (this.panning) return this.drag ? "grabbing" : "grab";
    return this.tool === "box" ? "crosshair" : "none";
  }

  // -- pointers -----------------------------------------------------------------------------------

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => {
      this.hover = null;
      this.refresh();
    });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    event.preventDefault();
    if (!this.photo) return;
    const delta = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 16 : 1);
    if (event.altKey || (event.shiftKey && !event.ctrlKey)) this.setBrush(this.brush * Math.exp(-delta * WHEEL_SPEED));
    else this.zoom(Math.exp(-delta * WHEEL_SPEED * (event.ctrlKey ? 4 : 1)), this.placeOf(event));
  }

  down(event) {
    if (!this.photo || document.querySelector(":popover-open")) return; // it closes the menu
    const place = this.placeOf(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size === 2) {
      this.dropStroke(); // a second finger: it was no stroke
      this.pinch = this.pinchOf();
      return;
    }
    if (this.pointers.size > 2) return;
    if (this.divider !== null) {
      this.moveDivider(place);
    } else if (event.button === 1 || this.spaceHeld) {
      event.preventDefault();
      this.drag = place;
    } else if (event.button === 0 && !this.locked) {
      this.begin(place, event.shiftKey);
    }
    this.hover = event.pointerType === "touch" ? null : place;
    this.refresh();
  }

  move(event) {
    if (!this.photo) return;
    const place = this.placeOf(event);
    if (event.pointerType !== "touch") this.hover = place;
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, place);
    if (this.pinch && this.pointers.size >= 2) {
      const next = this.pinchOf();
      this.pan(next.x - this.pinch.x, next.y - this.pinch.y);
      this.zoom(next.apart / this.pinch.apart, next);
      this.pinch = next;
    } else if (this.drag) {
      this.pan(place.x - this.drag.x, place.y - this.drag.y);
      this.drag = place;
    } else if (this.divider !== null && this.pointers.size) {
      this.moveDivider(place);
    } else if (this.stroke) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.extend(this.placeOf(part));
    }
    this.refresh();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.pinch) {
      if (this.pointers.size === 0) this.pinch = null;
      return;
    }
    if (this.drag) this.drag = undefined;
    else if (this.stroke) event.type === "pointercancel" ? this.dropStroke() : this.end();
    this.refresh();
  }

  pinchOf() {
    const [a, b] = [...this.pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  }

  moveDivider({ x }) {
    this.divider = Math.min(1, Math.max(0, this.toPreview({ x, y: 0 })[0] / this.photo.preview.width));
  }

  // `straight`: from where the last stroke ended.
  begin(place, straight) {
    const point = this.toPhoto(place);
    const rough = { box: "box", scribble: "scribble" }[this.tool];
    const points = straight && !rough && this.lastPoint ? [this.lastPoint, point] : [point];
    this.stroke = { kind: "stroke", points, radius: this.radius, erase: this.tool === "eraser", rough };
    if (rough) return;
    this.drawing.stroke = this.stroke;
    this.drawing.draw(this.stroke);
  }

  extend(place) {
    const point = this.toPhoto(place);
    const { points, radius, erase, rough } = this.stroke;
    const last = points.at(-1);
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) < Math.min(radius / 6, 1 / this.view.scale + 1)) return;
    if (rough === "box") points[1] = point;
    else points.push(point);
    if (!rough) this.drawing.drawPiece(last, point, radius, erase);
  }

  end() {
    const { kind, points, radius, erase, rough } = this.stroke;
    this.stroke = this.drawing.stroke = null;
    if (rough) return this.callbacks.onSelect?.({ kind: points.length > 1 ? rough : "click", points, radius });
    this.lastPoint = points.at(-1);
    const { left, top, right, bottom } = this.drawing.boxOf({ points, radius });
    if (left < right && top < bottom) this.callbacks.onStroke({ kind, points, radius, erase }); // else it fell beside the photo
  }

  dropStroke() {
    if (!this.stroke) return;
    const { rough } = this.stroke;
    const box = this.drawing.boxOf(this.stroke);
    this.stroke = this.drawing.stroke = null;
    if (!rough) this.drawing.redraw(box);
    this.refresh();
  }
}

function copyOf(image) {
  const canvas = canvasOf(image);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas;
}

const round = (value) => Math.round(value * 10) / 10;

// A slider from 0 to 100 for the brush's radius in CSS pixels.
const SMALLEST = 2;
const RANGE = 80;
export const radiusOf = (value) => SMALLEST * RANGE ** (value / 100);
export const sliderOf = (radius) => (100 * Math.log(radius / SMALLEST)) / Math.log(RANGE);
