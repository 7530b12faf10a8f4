// What is marked: a list of operations in pixels of the photo, and its picture at the preview's size.
// The server draws the same list at full size, so only the list travels.

export const MARK = "#ff3b6b";

export class Drawing {
  // `photo` as the server describes it; `loadLayer(id)` gives the bitmap of a mask layer.
  constructor(photo, loadLayer) {
    this.scale = photo.preview.width / photo.width;
    this.loadLayer = loadLayer;
    this.layers = new Map();
    this.operations = [];
    this.canvas = document.createElement("canvas");
    this.canvas.width = photo.preview.width;
    this.canvas.height = photo.preview.height;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.growth = photo.growth; // by how many pixels thick marks grow by themselves
    this.grow = null; // pixels of the photo; null: by themselves
    this.grown = null; // canvas of what will be filled, where it differs
  }

  get empty() {
    return this.operations.length === 0;
  }

  async show(operations) {
    this.operations = operations;
    await this.loadLayers();
    this.redraw();
  }

  async loadLayers() {
    for (const { kind, id } of this.operations) {
      if (kind === "layer" && !this.layers.has(id)) this.layers.set(id, tint(await this.loadLayer(id)));
    }
  }

  redraw() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const operation of this.operations) this.draw(operation);
    this.updateGrown();
  }

  draw(operation) {
    const context = this.context;
    context.save();
    context.globalCompositeOperation = operation.erase ? "destination-out" : "source-over";
    if (operation.kind === "stroke") {
      drawLine(context, operation.points, operation.radius, this.scale);
    } else if (operation.kind === "layer") {
      // One that is still being loaded is drawn by the `show` that waits for it.
      if (this.layers.has(operation.id)) context.drawImage(this.layers.get(operation.id), 0, 0);
    } else {
      context.globalCompositeOperation = "xor";
      context.fillStyle = MARK;
      context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }
    context.restore();
  }

  // The last piece of a stroke that is being drawn.
  drawPiece(from, to, radius, erase) {
    this.draw({ kind: "stroke", points: [from, to], radius, erase });
  }

  setGrow(pixels) {
    this.grow = pixels;
    this.updateGrown();
  }

  updateGrown() {
    const radius = Math.round((this.grow ?? this.growth) * this.scale);
    const thick = this.grow === null ? Math.round(4 * this.growth * this.scale) : 0;
    this.grown = radius && !this.empty ? growCanvas(this.context, radius, thick) : null;
  }

  // For the server.
  get value() {
    return { operations: this.operations, grow: this.grow };
  }
}

export function drawLine(context, points, radius, scale) {
  context.strokeStyle = context.fillStyle = MARK;
  context.lineWidth = 2 * radius * scale;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const [first, ...rest] = points;
  context.moveTo(first[0] * scale, first[1] * scale);
  if (rest.length === 0) context.lineTo(first[0] * scale, first[1] * scale + 0.01);
  for (const [x, y] of rest) context.lineTo(x * scale, y * scale);
  context.stroke();
}

function tint(bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = MARK;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

// Grow (or shrink) by a square, as the server does, here in pixels of the preview. With `thick` only those
// marks grow that can hold a square of that half side.
function growCanvas(context, radius, thick) {
  const { width, height } = context.canvas;
  const alpha = context.getImageData(0, 0, width, height).data;
  const all = new Uint8Array(width * height);
  for (let i = 0; i < all.length; i++) all[i] = alpha[4 * i + 3] >= 128 ? 1 : 0;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const box = boundsOf(all, width, height, Math.abs(radius) + 1);
  if (!box) return canvas;
  const columns = box.right - box.left;
  const rows = box.bottom - box.top;
  const marked = new Uint8Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    const start = (y + box.top) * width + box.left;
    marked.set(all.subarray(start, start + columns), y * columns);
  }
  const dilate = (field, reach) => spread(field, columns, rows, reach);
  const erode = (field, reach) => dilate(field.map((one) => 1 - one), reach).map((one) => 1 - one);
  const growing = thick ? dilate(erode(marked, thick), thick) : marked;
  const changed = radius > 0 ? dilate(growing, radius) : erode(marked, -radius);
  const image = new ImageData(columns, rows);
  const colour = [1, 3, 5].map((i) => parseInt(MARK.slice(i, i + 2), 16));
  for (let i = 0; i < changed.length; i++) {
    if (changed[i] || (radius > 0 && marked[i])) image.data.set([...colour, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, box.left, box.top);
  return canvas;
}

// Set every place within `reach` rows and columns of one that is set.
function spread(field, columns, rows, reach) {
  for (const [lines, line, count, step] of [[rows, columns, columns, 1], [columns, 1, rows, columns]]) {
    const next = new Uint8Array(field.length);
    for (let start = 0; start < lines * line; start += line) {
      for (const [from, along] of [[start, step], [start + (count - 1) * step, -step]]) {
        let last = -Infinity;
        for (let i = 0; i < count; i++) {
          if (field[from + i * along]) last = i;
          if (i - last <= reach) next[from + i * along] = 1;
        }
      }
    }
    field = next;
  }
  return field;
}

function boundsOf(marked, width, height, margin) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!marked[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  if (right < 0) return null;
  return {
    left: Math.max(0, left - margin),
    top: Math.max(0, top - margin),
    right: Math.min(width, right + margin + 1),
    bottom: Math.min(height, bottom + margin + 1),
  };
}
