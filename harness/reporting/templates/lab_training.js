// The training, epoch by epoch. The slider, the log and the plots choose the epoch.
const { losses, errors, two, wrong } = play.epochs;
const [wrongGreys, wrongLogits] = [bytes(play.epochs.greys), floats(play.epochs.logits)];
const firstWrong = wrong.reduce((starts, places) => [...starts, starts.at(-1) + places.length], [0]);
const wrongDigits = epoch => wrong[epoch - 1].map((image, place) => {
  const at = 10 * (firstWrong[epoch - 1] + place);
  return { label: play.epochs.labels[image], greys: wrongGreys.subarray(400 * image, 400 * (image + 1)), logits: Array.from(wrongLogits.subarray(at, at + 10)) };
});
const twoLogits = floats(two.logits);
const counted = (count, word) => count ? `${count} ${word}${count === 1 ? "" : "s"}` : `no ${word}`;

const slider = element("epoch");
const logRows = [...element("log").tBodies[0].rows];
const panels = ["loss", "errors"].map(name => [element(`training-panel-${name}`), element(`training-cursor-${name}`)]);
const startEpoch = slider.valueAsNumber;
const showEpoch = () => {
  const epoch = slider.valueAsNumber;
  element("at").value = `${epoch} of ${losses.length}: loss ${losses[epoch - 1].toFixed(4)}, ${counted(errors[epoch - 1], "error")}`;
  for (const [panel, cursor] of panels) {
    cursor.setAttribute("transform", `translate(${panel.getBBox().width * (epoch - startEpoch) / (losses.length + 1)} 0)`);
  }
  logRows.forEach((row, place) => row.classList.toggle("now", place === epoch - 1));
  const [box, now] = [element("log").parentElement, logRows[epoch - 1]];
  box.scrollTop = now.offsetTop - box.clientHeight / 2;
  const greys = bytes(two.greys);
  showReading(element("two-reading"), `After ${counted(epoch, "epoch")}, with each digit's probability and logit.`, greys, Array.from(twoLogits.subarray(10 * (epoch - 1), 10 * epoch)));
  const shown = wrongDigits(epoch);
  fillGallery(element("gallery"), element("wrong-reading"), shown, `after epoch ${epoch}`);
  const all = shown.length === errors[epoch - 1];
  element("gallery-caption").textContent = errors[epoch - 1]
    ? `${errors[epoch - 1]} errors out of 5000 images after epoch ${epoch}${all ? "" : `; ${shown.length} of them are shown`}. Under each digit: its label, then the network's answer.`.replace(/^1 errors/, "1 error")
    : `No errors after epoch ${epoch}.`;
};
const chooseEpoch = epoch => { slider.value = epoch; showEpoch(); };
slider.addEventListener("input", showEpoch);
for (const button of document.querySelectorAll("button[data-epoch]")) button.addEventListener("click", () => chooseEpoch(Number(button.dataset.epoch)));
logRows.forEach((row, place) => row.addEventListener("click", () => chooseEpoch(place + 1)));
document.querySelector("#training svg").addEventListener("click", event => {
  const box = panels[0][0].getBoundingClientRect();
  chooseEpoch(Math.min(losses.length, Math.max(1, Math.round((losses.length + 1) * (event.clientX - box.left) / box.width))));
});
showEpoch();
