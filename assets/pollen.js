// The page's own script: what HTML and HTMX cannot say. Without it the page still works.

// Enter sends, Shift+Enter breaks the line; Enter that ends a composition does neither.
document.addEventListener("keydown", (event) => {
  const isField = event.target.id === "message";
  if (!isField || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  // What is on its way already is not sent twice.
  const form = event.target.form;
  if (!event.repeat && !form.classList.contains("htmx-request")) form.requestSubmit();
});

// The view follows the answer for as long as the reader is at its end.
const FOLLOW_DISTANCE_PX = 80;
const page = document.scrollingElement;
const isAtEnd = () => page.scrollHeight - page.scrollTop - page.clientHeight < FOLLOW_DISTANCE_PX;
let follows = true;
addEventListener("scroll", () => { follows = isAtEnd(); }, { passive: true });
const follow = () => {
  if (follows && document.getElementById("messages")) page.scrollTop = page.scrollHeight;
};
document.addEventListener("htmx:after:swap", follow);
addEventListener("load", follow);

// A poll that fails is tried again by the next one; until it succeeds, the page says so.
document.addEventListener("htmx:error", () => { document.body.dataset.offline = ""; });
document.addEventListener("htmx:after:request", () => { delete document.body.dataset.offline; });
