// Digits that can be clicked, and the panel that shows the network's ten probabilities.
const element = id => document.getElementById(id);
const make = (tag, text = "", properties = {}) => Object.assign(document.createElement(tag), { textContent: text, ...properties });
const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
const floats = text => new Float32Array(bytes(text).buffer);

// A set of digits: the grey values (0 to 255, column by column), labels, and logits of each digit.
const digitSet = ({ greys, labels, logits }) => {
  const [pixels, values] = [bytes(greys), floats(logits)];
  return labels.map((label, number) => ({
    label, greys: pixels.subarray(400 * number, 400 * (number + 1)), logits: Array.from(values.subarray(10 * number, 10 * (number + 1))),
  }));
};
const answerOf = logits => logits.every(Number.isFinite) ? logits.indexOf(Math.max(...logits)) : "-";

const paint = (canvas, greys) => {
  const [context, picture] = [canvas.getContext("2d"), new ImageData(20, 20)];
  for (let column = 0; column < 20; column += 1) for (let row = 0; row < 20; row += 1) {
    const [grey, to] = [greys[column * 20 + row], 4 * (row * 20 + column)];
    picture.data.set([grey, grey, grey, 255], to);
  }
  context.putImageData(picture, 0, 0);
};

const showReading = (panel, text, greys, logits) => {
  const probabilities = stable(logits);
  const best = probabilities.indexOf(Math.max(...probabilities));
  paint(panel.querySelector("canvas"), greys);
  panel.querySelector("p").textContent = text;
  panel.querySelector(".ten").replaceChildren(...probabilities.map((probability, digit) => {
    const [row, track, bar] = [make("div", "", { className: digit === best ? "one best" : "one" }), make("div", "", { className: "track" }), make("span")];
    bar.style.width = `${100 * probability}%`;
    track.append(bar);
    row.append(make("span", String(digit)), track, make("span", probability < 0.0001 ? "<0.01%" : `${(100 * probability).toFixed(2)}%`),
      make("span", logits[digit].toFixed(2)));
    return row;
  }));
  panel.dataset.probabilities = JSON.stringify(probabilities);
};

// Fills a gallery with one button for each digit. A click shows the digit's probabilities in the panel.
const fillGallery = (gallery, panel, digits, when) => {
  const choose = (button, { label, greys, logits }) => {
    for (const other of gallery.children) Object.assign(other, { ariaPressed: String(other === button), tabIndex: other === button ? 0 : -1 });
    showReading(panel, `A ${label}, read as ${answerOf(logits)} ${when}. Each bar is a probability; the last column is the logit.`, greys, logits);
  };
  gallery.replaceChildren(...digits.map(digit => {
    const answer = answerOf(digit.logits);
    const [button, canvas] = [make("button", "", { type: "button" }), make("canvas", "", { width: 20, height: 20 })];
    paint(canvas, digit.greys);
    button.append(canvas, make("span", `${digit.label}, ${answer}`, { className: answer === digit.label ? "" : "bad" }));
    button.setAttribute("aria-label", `a ${digit.label}, read as ${answer}`);
    button.addEventListener("click", () => choose(button, digit));
    return button;
  }));
  // The tab key stops once at the gallery. The arrow keys move between its digits.
  gallery.onkeydown = event => {
    const columns = getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = gallery.children[[...gallery.children].indexOf(document.activeElement) + step];
    if (step) event.preventDefault();
    if (next) { next.focus(); next.click(); }
  };
  panel.hidden = !digits.length;
  if (digits.length) choose(gallery.firstChild, digits[0]);
};
