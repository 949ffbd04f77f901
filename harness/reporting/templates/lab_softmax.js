// The softmax of four numbers, by my_softmax or by a stable form.
const mySoftmax = z => {
  const ez = z.map(Math.exp);
  const sum = ez.reduce((total, one) => total + one, 0);
  return ez.map(one => one / sum);
};
const stable = z => { const largest = Math.max(...z); return mySoftmax(z.map(one => one - largest)); };

const byPlace = (name, place) => document.getElementById(`${name}-${place}`);
const withDigits = value => value > 0 && value < 1e-4 ? value.toExponential(8) : value.toFixed(12);
const z = [...document.querySelectorAll("#entries input[type=number]")].map(input => Number(input.defaultValue));

// Why my_softmax has no probabilities for z.
const reason = sum => {
  if (z.some(one => Math.exp(one) === Infinity)) return "Overflow: the exponential of an entry is infinite. Infinity divided by infinity is NaN.";
  if (sum === 0 && z.some(one => Math.exp(one) > 0)) return "Overflow: the sum of the exponentials is infinite, so every probability is 0.";
  return "Underflow: every exponential is 0. 0 divided by 0 is NaN.";
};

const showSoftmax = () => {
  const naive = document.querySelector("input[name=way]:checked").value === "mine";
  const [probabilities, right] = [(naive ? mySoftmax : stable)(z), stable(z)];
  const bound = Math.max(10, ...z.map(Math.abs));
  const sum = probabilities.reduce((total, one) => total + one, 0);
  const overflows = !(Number.isFinite(sum) && sum > 0);
  probabilities.forEach((probability, place) => {
    const output = byPlace("probability", place);
    output.value = withDigits(probability);
    output.dataset.value = String(probability);
    byPlace("bar", place).style.width = `${Number.isFinite(probability) ? 100 * probability : 0}%`;
    byPlace("bar", place).parentElement.classList.toggle("broken", !Number.isFinite(probability));
    byPlace("working", place).parentElement.hidden = byPlace("right", place).hidden = !overflows;
    byPlace("working", place).style.width = `${100 * right[place]}%`;
    byPlace("right", place).textContent = withDigits(right[place]);
    const size = 50 * Math.abs(z[place]) / bound;
    Object.assign(byPlace("zbar", place).style, { left: `${z[place] < 0 ? 50 - size : 50}%`, width: `${size}%` });
    Object.assign(byPlace("range", place), { min: -bound, max: bound });
    byPlace("range", place).value = z[place];
  });
  document.getElementById("sum").value = withDigits(sum);
  const warning = document.getElementById("overflow");
  warning.hidden = !overflows;
  if (overflows) warning.textContent = `${reason(sum)} The green bars are the stable form.`;
};

z.forEach((_, place) => {
  const [range, number] = [byPlace("range", place), byPlace("number", place)];
  number.value = z[place];
  range.addEventListener("input", () => { z[place] = range.valueAsNumber; number.value = range.value; showSoftmax(); });
  number.addEventListener("input", () => {
    if (Number.isFinite(number.valueAsNumber)) { z[place] = number.valueAsNumber; showSoftmax(); }
  });
});
for (const choice of document.querySelectorAll("input[name=way]")) choice.addEventListener("change", showSoftmax);
for (const button of document.querySelectorAll("button[data-z]")) {
  button.addEventListener("click", () => {
    button.dataset.z.split(" ").forEach((value, place) => { z[place] = Number(value); byPlace("number", place).value = value; });
    showSoftmax();
  });
}
showSoftmax();
