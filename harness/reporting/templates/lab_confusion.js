// The table of confused digits. A click on a count shows these digits.
const confused = digitSet(play.confused);
const showConfused = (button, label, answer) => {
  for (const other of document.querySelectorAll("#confusion button")) other.setAttribute("aria-pressed", String(other === button));
  const shown = confused.filter(digit => digit.label === label && answerOf(digit.logits) === answer);
  fillGallery(element("confused-gallery"), element("confused-reading"), shown, `after ${play.confused.epochs} epochs`);
};
for (const button of document.querySelectorAll("#confusion button")) {
  button.addEventListener("click", () => showConfused(button, Number(button.dataset.label), Number(button.dataset.answer)));
}
document.querySelector("#confusion button[data-first]")?.click();
