// The figures, the selection that figures and table share, the table of runs, and copying.
const element = id => document.getElementById(id);
const make = (tag, name) => Object.assign(document.createElement(tag), { className: name });
const isolated = ["blob:", "about:"].includes(location.protocol);  // MLflow's viewer allows no downloads and no popups
const views = [];
const table = element("runs");
const rows = [...table.tBodies[0].rows];

// The selection: a group, a number of epochs, a run, or nothing.
const picked = { rate: null, epochs: null, run: null };
const showPicked = () => {
  const parts = [picked.rate && `learning rate ${picked.rate}`, picked.epochs && `${picked.epochs} epochs`, picked.run && `run ${picked.run.slice(0, 8)}`];
  element("picked").hidden = !parts.some(Boolean);
  element("picked-text").textContent = `Selected: ${parts.filter(Boolean).join(", ")}`;
  const signals = { picked_rate: picked.run ? null : picked.rate, picked_epochs: picked.epochs && Number(picked.epochs), picked_run: picked.run };
  for (const view of views) {
    const changed = Object.entries(signals).filter(([name, value]) => view.signal(name) !== value);
    for (const [name, value] of changed) view.signal(name, value);
    if (changed.length) view.runAsync();
  }
  filterRows();
};
const pick = (rate = null, epochs = null, run = null) => {
  const same = picked.rate === rate && picked.epochs === epochs && picked.run === run;
  Object.assign(picked, same ? { rate: null, epochs: null, run: null } : { rate, epochs, run });
  showPicked();
};
element("picked-clear").addEventListener("click", () => pick());
document.addEventListener("keydown", event => { if (event.key === "Escape") pick(); });
element("picked-copy").addEventListener("click", () => copy(picked.run ?? rows.filter(row => !row.hidden).map(row => row.dataset.run).join("\n")));

// The figures.
const onClick = (event, item) => {
  const found = item?.datum;
  if (!found || event.target.closest("[data-chart]")?.dataset.chart.endsWith("_by_epoch") && !String(item.mark.role).startsWith("legend")) return;
  if (String(item.mark.role).startsWith("legend")) {
    const label = found.value ?? found.label;
    if (rows.some(row => row.dataset.rate === label)) pick(label);
  } else if (found.run) pick(rows.find(row => row.dataset.run === found.run)?.dataset.rate ?? null, null, found.run);
  else if (found.rate !== undefined && !found.low) pick(found.rate, found.epochs === undefined ? null : String(found.epochs));
  else if (found.rate !== undefined) pick(found.rate);
};
// Vega's legends react to clicks only if their marks are interactive.
const withLegends = specification => {
  for (const legend of specification.legends ?? []) {
    const [labels, symbols] = [legend.encode?.labels, legend.encode?.symbols].map(one => ({ ...one, interactive: true }));
    legend.encode = { ...legend.encode, labels, symbols };
  }
  return specification;
};
// Shows the training whose curve is nearest to the pointer. A click selects it.
const withNearest = (view, place, field) => {
  const box = make("div", "nearest");
  box.hidden = true;
  place.append(box);
  const nearest = event => {
    const svg = place.querySelector("svg");
    const area = svg.getBoundingClientRect();
    const size = Number(svg.getAttribute("width")) / area.width;
    const [left, top] = view.origin();
    const [x, y] = [(event.clientX - area.left) * size - left, (event.clientY - area.top) * size - top];
    const epoch = Math.round(view.scale("x").invert(x));
    const height = view.scale("y");
    if (y < -10 || y > view.height() + 10) return null;
    let found = null;
    for (const one of shared.curves) {
      const value = one[field][epoch - 1];
      if (value === undefined || value === null || (picked.rate && one.rate !== picked.rate)) continue;
      const distance = Math.abs(height(value) - y);
      if (distance < (found?.distance ?? 30)) found = { one, epoch, distance };
    }
    return found;
  };
  place.addEventListener("pointermove", event => {
    const found = nearest(event);
    box.hidden = !found;
    if (!found) return;
    const { one, epoch } = found;
    box.textContent = `learning rate ${one.rate}, seed ${one.seed}, epoch ${epoch}: ${one.errors[epoch - 1]} errors, loss ${one.loss[epoch - 1]}, run ${one.run.slice(0, 8)}`;
    const area = place.getBoundingClientRect();
    Object.assign(box.style, { left: `${Math.min(event.clientX - area.left + 12, Math.max(0, area.width - 230))}px`, top: `${event.clientY - area.top + 14}px` });
  });
  place.addEventListener("pointerleave", () => { box.hidden = true; });
  place.addEventListener("click", event => {
    const found = nearest(event);
    if (found) pick(found.one.rate, null, found.one.run);
  });
};
const draw = async place => {
  const specification = specifications[place.dataset.chart];
  specification.datasets = { ...specification.datasets, ...shared };
  specification.config.legend.columns = place.clientWidth < 500 ? 2 : 6;
  const { view } = await vegaEmbed(place, specification, { actions: false, renderer: "svg", defaultStyle: false, patch: withLegends });
  view.addEventListener("click", onClick);
  if (specification.data?.name === "curves") withNearest(view, place, specification.encoding.y.field);
  views.push(view);
};
const drawn = Promise.all([...document.querySelectorAll("[data-chart]")].map(draw));
drawn.then(() => { document.body.dataset.drawn = "yes"; });

// The table of runs.
const heads = [...table.tHead.rows[0].cells];
const value = (row, column) => row.cells[column].textContent.trim();
// Sorts numbers by size and words by letter. Missing values come last, also in descending order.
const compare = (a, b) => {
  const [x, y] = [Number(a), Number(b)];
  return Number.isFinite(x) && Number.isFinite(y) ? x - y : a.localeCompare(b);
};
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  rows.sort((first, second) => {
    const [a, b] = [value(first, column), value(second, column)];
    if ((a === "-") !== (b === "-")) return a === "-" ? 1 : -1;
    return down ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows);
}));
// A short number must be a whole cell, so that 1 does not find 100. Other words may be a part of a cell, such as of a run id.
const holds = (cell, word) => word.length < 8 && Number.isFinite(Number(word)) ? cell === word : cell.includes(word);
const filterRows = () => {
  const words = element("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const cells = [...row.cells].map(cell => cell.textContent.trim().toLowerCase());
    const isPicked = (picked.rate === null || row.dataset.rate === picked.rate) && (picked.epochs === null || row.dataset.epochs === picked.epochs)
      && (picked.run === null || row.dataset.run === picked.run);
    row.hidden = !isPicked || !words.every(word => (word.length >= 8 && row.dataset.run.includes(word)) || cells.some(cell => holds(cell, word)));
    shown += !row.hidden;
  }
  element("found").textContent = `${shown} of ${rows.length}`;
};
element("find").addEventListener("input", filterRows);

// Copying. Where the clipboard is not available, the text is shown and selected.
const copy = async text => {
  const area = element("copied");
  area.value = text;
  try {
    await navigator.clipboard.writeText(text);
    area.hidden = true;
  } catch {
    area.hidden = false;
    area.select();
    document.execCommand("copy");
  }
  element("copy-status").textContent = area.hidden ? "Copied." : "Selected: press Ctrl+C to copy.";
};
const csv = () => [heads, ...rows.filter(row => !row.hidden).map(row => [...row.cells])]
  .map(cells => cells.map(cell => cell.querySelector("[data-id]")?.dataset.id ?? `"${cell.textContent.trim().replaceAll('"', '""')}"`).join(",")).join("\n");
element("copy-runs").addEventListener("click", () => copy(csv()));
document.addEventListener("click", event => {
  const button = event.target.closest("[data-id], [data-pick]");
  if (button?.dataset.id) {
    copy(button.dataset.id);
    button.dataset.copied = "yes";
    setTimeout(() => delete button.dataset.copied, 1500);
  }
  else if (button) {
    pick(button.dataset.rate, button.dataset.epochs);
    if (!element("picked").hidden) element("all-runs").scrollIntoView();
  }
});
for (const link of document.querySelectorAll(".file")) link.hidden = isolated;

// On paper, the details are open, and the figures have the width of the page.
const print = matchMedia("print");
const openAll = () => { if (print.matches) for (const one of document.querySelectorAll("details")) one.open = true; };
print.addEventListener("change", openAll);
openAll();
