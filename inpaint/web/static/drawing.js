// What is marked: a list of operations in pixels of the photo, and its picture at the preview's size.
// The server draws the same list at full size, so only the list travels.

export const MARK = "#ff3b6b";

export class Drawing {
  // `photo` as the server describes it; `loadLayer(id)` gives the bitmap of a mask layer.
  constructor(photo, loadLayer) {
    this.scale = photo.preview.width / photo.width;
    this.loadLayer = loadLayer;
    this.layers = new Map();
    this.operations = this.drawn = [];
    this.stroke = null; // one that is being drawn
    this.canvas = canvasOf(photo.preview);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.whole = { left: 0, top: 0, right: this.canvas.width, bottom: this.canvas.height };
    this.marked = new Uint8Array(this.canvas.width * this.canvas.height);
    this.growth = photo.growth; // by how many pixels thick marks grow by themselves
    this.grow = null; // pixels of the photo; null: by themselves
    this.grown = null; // canvas of what will be filled, where it differs
  }

  // Whether nothing is marked, be it that all marks were rubbed out.
  get empty() {
    if (this.marked.includes(1)) return false;
    // What is finer than the preview's pixels covers none of them by half.
    const isFine = ({ kind, radius, erase }) => kind === "layer" || (!erase && 2 * radius * this.scale < 1);
    return !this.operations.some(isFine) || this.read(this.whole).every((value) => value === 0);
  }

  async show(operations) {
    this.operations = operations;
    const loaded = await this.loadLayers();
    this.redraw(loaded ? this.whole : this.changedBox());
  }

  async loadLayers() {
    const missing = this.operations.filter(({ kind, id }) => kind === "layer" && !this.layers.has(id));
    for (const { id } of missing) this.layers.set(id, tint(await this.loadLayer(id)));
    return missing.length > 0;
  }

  // Where the operations differ from those that are drawn.
  changedBox() {
    const [before, after] = [this.drawn, this.operations];
    let same = 0;
    while (same < before.length && before[same] === after[same]) same++;
    const boxes = [...before.slice(same), ...after.slice(same)].map((operation) => this.boxOf(operation));
    const most = (of, side) => of(...boxes.map((box) => box[side]));
    return boxes.length && { left: most(Math.min, "left"), top: most(Math.min, "top"), right: most(Math.max, "right"), bottom: most(Math.max, "bottom") };
  }

  // Only within a box: all of a large photo takes long.
  redraw(box = this.whole) {
    this.drawn = this.operations;
    if (!box) return;
    const { left, top, right, bottom } = box;
    this.context.save();
    this.context.beginPath();
    this.context.rect(left, top, right - left, bottom - top);
    this.context.clip();
    this.context.clearRect(left, top, right - left, bottom - top);
    for (const operation of this.operations) this.draw(operation);
    if (this.stroke) this.draw(this.stroke);
    this.context.restore();
    this.updateMarked(box);
    this.updateGrown(box);
  }

  // The pixels of the preview that an operation may change.
  boxOf({ points, radius }) {
    if (!points) return this.whole;
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis] * this.scale));
    const box = { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
    return this.widen(box, radius * this.scale + 1);
  }

  widen({ left, top, right, bottom }, by) {
    const within = (place, most) => Math.min(most, Math.max(0, place));
    const { width, height } = this.canvas;
    return {
      left: within(Math.floor(left - by), width),
      top: within(Math.floor(top - by), height),
      right: within(Math.ceil(right + by), width),
      bottom: within(Math.ceil(bottom + by), height),
    };
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

  read({ left, top, right, bottom }) {
    if (right <= left || bottom <= top) return new Uint8Array(0);
    return this.context.getImageData(left, top, right - left, bottom - top).data;
  }

  updateMarked(box) {
    const alpha = this.read(box);
    for (let y = box.top, i = 3; y < box.bottom; y++) {
      const row = y * this.canvas.width;
      for (let x = box.left; x < box.right; x++, i += 4) this.marked[row + x] = alpha[i] >= 128 ? 1 : 0;
    }
  }

  updateGrown(box = this.whole) {
    const radius = Math.round((this.grow ?? this.growth) * this.scale);
    const thick = this.grow === null ? Math.round(4 * this.growth * this.scale) : 0;
    const reach = 2 * thick + Math.abs(radius);
    const grown = this.grown;
    this.grown = radius ? grown ?? canvasOf(this.canvas) : null;
    if (!radius) return;
    // Pixels change as far as the reach, and those within reach of them count.
    const changed = this.widen(grown ? box : this.whole, reach);
    const counting = this.widen(changed, reach);
    if (changed.right <= changed.left || changed.bottom <= changed.top) return;
    const image = growPart(this.marked, this.canvas.width, counting, radius, thick);
    const [x, y] = [changed.left - counting.left, changed.top - counting.top];
    const size = [changed.right - changed.left, changed.bottom - changed.top];
    this.grown.getContext("2d").putImageData(image, counting.left, counting.top, x, y, ...size);
  }

  // For the server.
  get value() {
    return { operations: this.operations, grow: this.grow };
  }
}

export function canvasOf({ width, height }) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
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
  const canvas = canvasOf(bitmap);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = MARK;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

// Grow (or shrink) what is marked in a box by a square, as the server does, here in pixels of the preview. With
// `thick` only those marks grow that can hold a square of that half side.
function growPart(all, width, box, radius, thick) {
  const [columns, rows] = [box.right - box.left, box.bottom - box.top];
  const marked = new Uint8Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    const start = (y + box.top) * width + box.left;
    marked.set(all.subarray(start, start + columns), y * columns);
  }
  const dilate = (field, reach) => spread(field, columns, rows, reach, 1);
  const erode = (field, reach) => spread(field, columns, rows, reach, 0);
  const growing = thick ? dilate(erode(marked, thick), thick) : marked;
  const changed = radius > 0 ? dilate(growing, radius) : erode(marked, -radius);
  const image = new ImageData(columns, rows);
  const colour = [1, 3, 5].map((i) => parseInt(MARK.slice(i, i + 2), 16));
  const [pixel] = new Uint32Array(new Uint8Array([...colour, 255]).buffer);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < changed.length; i++) {
    if (changed[i] || (radius > 0 && marked[i])) pixels[i] = pixel;
  }
  return image;
}

// Set every place to `value` that lies within `reach` columns and rows of one that has it.
function spread(field, columns, rows, reach, value) {
  const [across, next] = [new Uint8Array(field.length), new Uint8Array(field.length)];
  for (let start = 0; start < field.length; start += columns) {
    const end = start + columns;
    for (let i = start - reach, until = -1; i < end; i++) {
      if (i + reach < end && field[i + reach] === value) until = i + 2 * reach;
      if (i >= start) across[i] = i <= until ? value : 1 - value;
    }
  }
  // Row by row as well: down one column after the other takes twice as long.
  const until = new Int32Array(columns).fill(-1);
  for (let y = -reach; y < rows; y++) {
    const [here, ahead] = [y * columns, (y + reach) * columns];
    for (let x = 0; x < columns && y + reach < rows; x++) if (across[ahead + x] === value) until[x] = y + 2 * reach;
    for (let x = 0; x < columns && y >= 0; x++) next[here + x] = y <= until[x] ? value : 1 - value;
  }
  return next;
}
