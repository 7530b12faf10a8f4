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
    this.grow = 0; // pixels of the photo
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
      context.drawImage(this.layers.get(operation.id), 0, 0);
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
    this.grown = this.grow && !this.empty ? growCanvas(this.context, this.grow * this.scale) : null;
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

// Grow (or shrink) by a disc, as the server does: exact distances, here in pixels of the preview.
function growCanvas(context, radius) {
  const { width, height } = context.canvas;
  const alpha = context.getImageData(0, 0, width, height).data;
  const growing = radius > 0;
  const marked = new Uint8Array(width * height);
  for (let i = 0; i < marked.length; i++) marked[i] = alpha[4 * i + 3] >= 128 ? 1 : 0;
  const box = boundsOf(marked, width, height, Math.ceil(Math.abs(radius)) + 1);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  if (!box) return canvas;
  const columns = box.right - box.left;
  const rows = box.bottom - box.top;
  const target = new Uint8Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      target[y * columns + x] = marked[(y + box.top) * width + x + box.left] === (growing ? 1 : 0) ? 1 : 0;
    }
  }
  const distance = squaredDistances(target, columns, rows);
  const image = new ImageData(columns, rows);
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(MARK.slice(i, i + 2), 16));
  for (let i = 0; i < distance.length; i++) {
    if (growing ? distance[i] <= radius * radius : distance[i] > radius * radius) {
      image.data.set([red, green, blue, 255], 4 * i);
    }
  }
  canvas.getContext("2d").putImageData(image, box.left, box.top);
  return canvas;
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

// Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions" (2012).
function squaredDistances(target, width, height) {
  const far = 1e12;
  const field = new Float64Array(width * height);
  for (let i = 0; i < field.length; i++) field[i] = target[i] ? 0 : far;
  const length = Math.max(width, height);
  const line = new Float64Array(length);
  const places = new Int32Array(length);
  const bounds = new Float64Array(length + 1);
  const transform = (start, step, count) => {
    for (let i = 0; i < count; i++) line[i] = field[start + i * step];
    let last = 0;
    places[0] = 0;
    bounds[0] = -Infinity;
    bounds[1] = Infinity;
    for (let q = 1; q < count; q++) {
      let meet;
      do {
        const p = places[last];
        meet = (line[q] + q * q - line[p] - p * p) / (2 * (q - p));
      } while (meet <= bounds[last] && --last >= 0);
      last++;
      places[last] = q;
      bounds[last] = meet;
      bounds[last + 1] = Infinity;
    }
    last = 0;
    for (let q = 0; q < count; q++) {
      while (bounds[last + 1] < q) last++;
      field[start + q * step] = (q - places[last]) ** 2 + line[places[last]];
    }
  };
  for (let x = 0; x < width; x++) transform(x, width, height);
  for (let y = 0; y < height; y++) transform(y * width, 1, width);
  return field;
}
