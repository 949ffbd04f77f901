// The box to draw in. The network runs in the page: its weights are in the data.
const weights = floats(play.weights);
const network = features => {
  let [values, at] = [Array.from(features), 0];
  for (let layer = 1; layer < play.layers.length; layer += 1) {
    const [inputs, units, last] = [play.layers[layer - 1], play.layers[layer], layer === play.layers.length - 1];
    const next = Array.from(weights.subarray(at + inputs * units, at + inputs * units + units));
    for (let input = 0; input < inputs; input += 1) {
      if (values[input]) for (let unit = 0; unit < units; unit += 1) next[unit] += values[input] * weights[at + input * units + unit];
    }
    values = last ? next : next.map(one => Math.max(0, one));
    at += inputs * units + units;
  }
  return values;
};

const [pad, drawn] = [element("pad"), element("drawn-reading")];
const pen = pad.getContext("2d", { willReadFrequently: true });
const key = {};
let down = false;
const clear = () => {
  pen.fillStyle = "#000"; pen.fillRect(0, 0, 280, 280);
  Object.assign(pen, { lineWidth: 24, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  Object.assign(key, { x: 140, y: 140, down: false });
  drawn.hidden = element("dot").hidden = true;
  element("drawing").classList.add("screen");  // an empty box is not printed
};

// Returns the drawing as 28 by 28 grey values from 0 to 1. As in MNIST, the longer side of the digit has 20 pixels, and its
// centre of mass is in the middle.
const centred = () => {
  const source = pen.getImageData(0, 0, 280, 280).data;
  let [left, top, right, bottom] = [280, 280, -1, -1];
  for (let y = 0; y < 280; y += 1) for (let x = 0; x < 280; x += 1) if (source[4 * (y * 280 + x)] > 20) {
    left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
  }
  if (right < 0) return null;
  const [width, height] = [right - left + 1, bottom - top + 1];
  const scale = 200 / Math.max(width, height);
  const draw = (dx, dy) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 280, height: 280 });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillRect(0, 0, 280, 280);
    context.drawImage(pad, left, top, width, height, 140 - width * scale / 2 + dx, 140 - height * scale / 2 + dy, width * scale, height * scale);
    const [data, found] = [context.getImageData(0, 0, 280, 280).data, new Float64Array(784)];
    for (let y = 0; y < 280; y += 1) for (let x = 0; x < 280; x += 1) found[Math.floor(y / 10) * 28 + Math.floor(x / 10)] += data[4 * (y * 280 + x)] / 25500;
    return found;
  };
  let [mass, cx, cy] = [0, 0, 0];
  draw(0, 0).forEach((value, place) => { mass += value; cx += value * (place % 28 + 0.5); cy += value * (Math.floor(place / 28) + 0.5); });
  return draw(10 * (14 - cx / mass), 10 * (14 - cy / mass)).map(value => Math.round(255 * value) / 255);
};

// Resizes to 20 by 20, unrolled column by column, with the weights that resize the lab's images.
const resized = image => {
  const { weights, positions } = play.resize;
  const half = weights.map((row, r) => Array.from({ length: 28 }, (_, c) => row.reduce((sum, weight, place) => sum + weight * image[positions[r][place] * 28 + c], 0)));
  const found = new Float32Array(400);
  weights.forEach((row, c) => { for (let r = 0; r < 20; r += 1) found[c * 20 + r] = row.reduce((sum, weight, place) => sum + weight * half[r][positions[c][place]], 0); });
  return found;
};

const readDrawing = () => {
  const image = centred();
  if (!image) return;
  const features = resized(image);
  const logits = network(features);
  drawn.hidden = false;
  element("drawing").classList.remove("screen");
  Object.assign(drawn.dataset, { image: JSON.stringify(Array.from(image)), features: JSON.stringify(Array.from(features)) });
  showReading(drawn, `The network reads a ${answerOf(logits)}. It sees these 20 by 20 pixels.`, Array.from(features, value => 255 * Math.min(1, Math.max(0, value))), logits);
};
const stroke = (from, to) => { pen.beginPath(); pen.moveTo(...from); pen.lineTo(to[0] + 0.1, to[1]); pen.stroke(); readDrawing(); };
const pointer = event => { const box = pad.getBoundingClientRect(); return [(event.clientX - box.left) * 280 / box.width, (event.clientY - box.top) * 280 / box.height]; };
let last = [0, 0];
pad.addEventListener("pointerdown", event => { down = true; pad.setPointerCapture(event.pointerId); last = pointer(event); stroke(last, last); });
pad.addEventListener("pointermove", event => { if (down) { const next = pointer(event); stroke(last, next); last = next; } });
for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { down = false; });
const showPen = () => {
  element("dot").hidden = false;
  Object.assign(element("dot").style, { left: `${key.x / 2.8}%`, top: `${key.y / 2.8}%` });
  element("pen").textContent = `Pen ${key.down ? "down" : "up"} at ${key.x}, ${key.y} of 280.`;
};
pad.addEventListener("focus", () => { if (pad.matches(":focus-visible")) showPen(); });
pad.addEventListener("keydown", event => {
  const move = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  if (!move) key.down = !key.down;
  const before = [key.x, key.y];
  if (move) [key.x, key.y] = before.map((one, axis) => Math.min(270, Math.max(10, one + move[axis])));
  if (key.down) stroke(before, [key.x, key.y]);
  showPen();
});
element("clear").addEventListener("click", clear);
clear();
