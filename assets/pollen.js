// The page's own script: what HTML and HTMX cannot say. Without it the page still works. It has no words of
// its own: those that it shows stand in the page.

const byId = (id) => document.getElementById(id);
const box = () => byId("message");
const on = (name, act) => document.addEventListener(name, act);

// ---- Pace. Pollers poll by themselves ("every 300ms"); here is decided which of their polls may go.

const POLLER = "[hx-trigger*=every]";
const HIDDEN_PAUSE_MS = 30_000; // between the polls of a tab that nobody sees
const FIRST_PAUSE_MS = 500; // after a failure, doubled by each further one
const LONGEST_PAUSE_MS = 30_000;
const PASSING = [408, 425, 429]; // refusals that pass; any other one takes the poller's place and says why
const lastPolls = new Map();
let failures = 0;
let quietUntil = 0;
let isLeaving = false;

const pollNow = () => {
  quietUntil = 0;
  lastPolls.clear();
  for (const poller of document.querySelectorAll(POLLER)) htmx.trigger(poller, "every");
};
const mayPoll = (poller) => {
  const now = Date.now();
  if (now < quietUntil) return false;
  if (document.hidden && now - (lastPolls.get(poller.id) ?? 0) < HIDDEN_PAUSE_MS) return false;
  lastPolls.set(poller.id, now);
  return true;
};
const failed = () => {
  if (isLeaving || Date.now() < quietUntil) return;
  const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
  // Not all at once, when the server is back.
  quietUntil = Date.now() + pause * (0.5 + Math.random() / 2);
  failures += 1;
  byId("trouble").hidden = false;
};
const succeeded = () => {
  failures = 0;
  quietUntil = 0;
  byId("trouble").hidden = true;
};
// There are proxies that take away every header that they do not know, htmx's among them. So the server is asked for a
// fragment in a header that they know too, and the address bar is set by what is shown, if nobody else has done it.
on("htmx:config:request", (event) => { event.detail.ctx.request.headers.Accept = "text/html;fragment=true"; });
on("htmx:finally:request", (event) => {
  const { request, status } = event.detail.ctx;
  if (request.method !== "POST" || status !== "swapped") return;
  const action = byId("composer")?.getAttribute("action") ?? "";
  const isHome = action === "/chat/create" && location.pathname.startsWith("/chat/");
  const path = isHome ? "/" : action.match(/^(\/chat\/[^/]+)\/send$/)?.[1];
  if (path && path !== location.pathname) history.pushState({ htmx: true }, "", path);
});
on("htmx:before:request", (event) => {
  const { sourceElement, sourceEvent } = event.detail.ctx;
  if (sourceEvent?.type === "every" && !mayPoll(sourceElement)) event.preventDefault();
});
on("htmx:after:request", (event) => {
  const { status } = event.detail.ctx.response;
  if (status >= 500 || PASSING.includes(status)) failed();
  else succeeded();
});
on("htmx:error", failed);
on("visibilitychange", () => { if (!document.hidden) pollNow(); });
addEventListener("online", pollNow);
addEventListener("offline", failed);
addEventListener("pagehide", () => { isLeaving = true; });
addEventListener("pageshow", () => { isLeaving = false; });

// ---- What the reader holds is not taken away by a swap: the selected text, the focus, what is folded out or typed.

// A place in the text of `root`, as characters from its beginning, and back.
const offsetOf = (root, node, offset) => {
  const range = document.createRange();
  range.setStart(root, 0);
  range.setEnd(node, offset);
  return range.toString().length;
};
const placeAt = (root, offset) => {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let left = offset; texts.nextNode(); left -= texts.currentNode.length) {
    if (left <= texts.currentNode.length) return [texts.currentNode, left];
  }
  return null;
};
// What scrolls sideways, text by text.
const sideways = function* () {
  for (const text of document.querySelectorAll(".message [id^=text-]")) {
    for (const [index, part] of [...text.querySelectorAll("pre, .scroll")].entries()) yield [`${text.id} ${index}`, part];
  }
};
const held = new WeakMap();
const hold = () => {
  const selection = getSelection();
  const text = selection.anchorNode?.parentElement?.closest("[id^=text-]");
  // From one message into another, it is in all of them.
  const root = text?.contains(selection.focusNode) ? text : byId("messages");
  const isHere = root?.contains(selection.anchorNode) && root.contains(selection.focusNode) && !selection.isCollapsed;
  return {
    wasAtEnd: isAtEnd(),
    focused: document.activeElement.closest(".message")?.id,
    wasAside: document.activeElement.closest("#side-list") !== null,
    open: [...document.querySelectorAll(".message details[open]")].map((part) => [part.closest(".message").id, part.className]),
    scrolled: new Map([...sideways()].map(([name, part]) => [name, [part.scrollLeft, part === document.activeElement]])),
    typed: [...document.querySelectorAll(".message :is(textarea, input)")]
      .filter((field) => field.value !== field.defaultValue).map((field) => [field.id, field.value]),
    text: isHere && {
      id: root.id,
      said: selection.toString(),
      anchor: offsetOf(root, selection.anchorNode, selection.anchorOffset),
      focus: offsetOf(root, selection.focusNode, selection.focusOffset),
    },
  };
};
const giveBack = ({ focused, wasAside, open, typed, scrolled, text }) => {
  for (const [name, part] of sideways()) {
    const [left, hadFocus] = scrolled.get(name) ?? [0, false];
    part.scrollLeft ||= left;
    if (hadFocus) part.focus({ preventScroll: true });
  }
  for (const [id, name] of open) {
    const part = document.querySelector(`#${id} details.${name}`);
    if (part) part.open = true;
  }
  for (const [id, value] of typed) {
    if (byId(id)) byId(id).value = value;
  }
  if (document.activeElement === document.body) {
    if (focused) (byId(focused) ?? box())?.focus({ preventScroll: true });
    else if (wasAside) (document.querySelector("#notice button") ?? byId("search")).focus({ preventScroll: true });
  }
  const root = text && byId(text.id);
  if (!root || getSelection().toString() === text.said) return;
  const [anchor, focus] = [placeAt(root, text.anchor), placeAt(root, text.focus)];
  if (anchor && focus) getSelection().setBaseAndExtent(...anchor, ...focus);
};
on("htmx:before:swap", (event) => held.set(event.detail.ctx, hold()));
on("htmx:after:swap", (event) => {
  const before = held.get(event.detail.ctx);
  if (!before) return;
  giveBack(before);
  follow(before.wasAtEnd);
});

// ---- The view follows the answer for as long as the reader is at its end.

const END_PX = 80;
const page = document.scrollingElement;
const isAtEnd = () => page.scrollHeight - page.scrollTop - page.clientHeight < END_PX;
const goToEnd = () => { page.scrollTop = page.scrollHeight; };
let height = 0;
let hasSent = false; // and wants to see it
const follow = (wasAtEnd) => {
  const grew = page.scrollHeight > height;
  height = page.scrollHeight;
  if (!byId("messages") || !grew) return;
  if (wasAtEnd || hasSent) goToEnd();
  else byId("new-text").hidden = false;
  hasSent = false;
};
addEventListener("scroll", () => {
  if (byId("new-text") && isAtEnd()) byId("new-text").hidden = true;
}, { passive: true });
addEventListener("load", () => {
  const [navigation] = performance.getEntriesByType("navigation");
  // Who comes back is where they were.
  const isNew = navigation?.type === "navigate" && (!location.hash || location.hash === "#end");
  if (byId("messages") && isNew) goToEnd();
  height = page.scrollHeight;
});

// ---- The message box: keys, a draft that survives, and a message that is sent once.

const draftKey = () => `draft ${location.pathname}`;
// Browsers give UUIDs themselves on secure pages only.
const newUuid = () => crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g,
  (digit) => (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));
const restoreDraft = () => {
  // Once: another tab's draft is not this one's.
  if (!box() || box().dataset.restored) return;
  box().dataset.restored = "";
  box().value ||= localStorage.getItem(draftKey()) ?? "";
};
let sent = null;
on("input", (event) => {
  if (event.target !== box()) return;
  // Other words are another message, whatever became of the last one.
  box().form.elements.uuid.value = newUuid();
  if (box().value) localStorage.setItem(draftKey(), box().value);
  else localStorage.removeItem(draftKey());
  offerCommands();
});
on("htmx:before:request", (event) => {
  const form = event.detail.ctx.sourceElement;
  if (form.id === "composer") sent = { key: draftKey(), text: box().value };
});
on("htmx:after:request", (event) => {
  const { sourceElement, response } = event.detail.ctx;
  if (sourceElement.id !== "composer") return;
  byId("not-sent").hidden = true;
  if (response.status >= 300) return;
  hasSent = true;
  // The button was disabled meanwhile, and has lost the focus.
  if (document.activeElement.matches("body, .send")) box().focus({ preventScroll: true });
  // What was typed in the meantime is the next message.
  if (box().value !== sent.text) return;
  localStorage.removeItem(sent.key);
  box().value = "";
  box().form.elements.uuid.value = newUuid();
});
on("htmx:error", (event) => {
  if (event.detail.ctx?.sourceElement.id === "composer") byId("not-sent").hidden = false;
});
on("htmx:after:swap", restoreDraft);

const isTyping = (target) => target.matches("input, textarea, select, [contenteditable]");
on("keydown", (event) => {
  // A key that ends a composition does nothing else.
  if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && box() && !isTyping(event.target)) {
    event.preventDefault();
    box().focus();
    if (!box().value) {
      box().value = "/";
      offerCommands();
    }
  } else if (event.key === "Escape") {
    escape(event);
  } else if (event.target === box()) {
    if (chooseCommand(event)) event.preventDefault();
    else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      const { form } = box();
      // What is on its way already is not sent twice.
      if (!event.repeat && !form.classList.contains("htmx-request")) form.requestSubmit();
    }
  }
});
// What lies over the page is closed first; then the answer that is being written is stopped.
const escape = (event) => {
  const menu = document.querySelector("details.menu[open], details.edit[open]");
  if (!byId("commands")?.hidden && box()) hideCommands();
  else if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (!document.querySelector(":popover-open") && event.target.type !== "search") {
    [...document.querySelectorAll(".message-assistant .stop")].pop()?.click();
  }
};

// ---- The list of commands, while a command's first word is typed.

const options = () => [...document.querySelectorAll("#commands [role=option]:not([hidden])")];
const select = (chosen) => {
  for (const option of options()) option.setAttribute("aria-selected", option === chosen);
  box().setAttribute("aria-activedescendant", chosen?.id ?? "");
  chosen?.scrollIntoView({ block: "nearest" });
};
const offerCommands = () => {
  const typed = box().value.toLowerCase();
  for (const option of byId("commands").children) option.hidden = !option.dataset.command.startsWith(typed);
  byId("commands").hidden = !typed.startsWith("/") || options().length === 0;
  select(byId("commands").hidden ? null : options()[0]);
};
const hideCommands = () => {
  byId("commands").hidden = true;
  box().removeAttribute("aria-activedescendant");
};
const takeCommand = (option) => {
  box().value = `${option.dataset.command} `;
  box().focus();
  hideCommands();
};
// Whether the key was for the list. Enter sends what is a command already.
const chooseCommand = (event) => {
  if (byId("commands").hidden) return false;
  const all = options();
  const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) select(all[(at + step + all.length) % all.length]);
  else if (event.key === "Tab" || (event.key === "Enter" && all[at].dataset.command !== box().value)) takeCommand(all[at]);
  else {
    if (event.key === "Enter") hideCommands();
    return false;
  }
  return true;
};

// ---- Buttons.

const say = (text) => {
  const line = document.createElement("p");
  line.textContent = text;
  byId("announcer").append(line);
  if (byId("announcer").childElementCount > 8) byId("announcer").firstElementChild.remove();
};
const copy = async (button) => {
  const { done, failed: sorry } = byId("announcer").dataset;
  const { copy: path } = button.dataset;
  const shown = button.parentElement.querySelector("pre, [data-link]");
  try {
    const text = path
      ? (await (await fetch(path, { headers: { accept: "application/json" } })).json()).content
      : shown.value ?? shown.textContent;
    await navigator.clipboard.writeText(text);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1_500);
    say(done);
  } catch {
    say(sorry);
    button.title = sorry;
  }
};
on("click", (event) => {
  const { target } = event;
  const button = target.closest("[data-copy], .copy");
  if (button) copy(button);
  if (target.closest("#new-text")) {
    goToEnd();
    box()?.focus({ preventScroll: true });
  }
  const option = target.closest("#commands [role=option]");
  if (option) takeCommand(option);
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
});
on("submit", ({ target }) => {
  const fold = target.closest("details");
  // The new link is shown where it was asked for.
  if (!fold || fold.matches(".share")) return;
  // The focus does not go down with it.
  if (fold.contains(document.activeElement)) fold.querySelector("summary").focus();
  fold.open = false;
});

// ---- Whole sentences of a growing answer are read out, not its tokens.

const sentences = new Intl.Segmenter(document.documentElement.lang, { granularity: "sentence" });
const DONE = Infinity;
const readOut = new Map(); // characters of each answer
const feet = () => document.querySelectorAll(".message:not(.message-user) .message-foot");
// What an answer says, block by block.
const spoken = ({ id }) => {
  const text = byId(id.replace("foot-", "text-"));
  const blocks = [...text.querySelectorAll(":scope > *, .open > *")].filter((block) => !block.matches(".open"));
  return blocks.map((block) => block.textContent.trim()).join("\n");
};
// What is finished when a chat comes to be shown is read with it.
let shownList = null;
const meet = (start) => {
  shownList = byId("messages");
  for (const foot of feet()) readOut.set(foot.id, foot.dataset.status === "pending" ? start(foot) : DONE);
};
const announce = () => {
  if (byId("messages") !== shownList) meet(() => 0);
  for (const foot of feet()) {
    const { status } = foot.dataset;
    const read = readOut.get(foot.id) ?? 0;
    if (status !== "pending" && read === DONE) continue;
    const all = spoken(foot);
    // It may be another text than it was.
    const start = read <= all.length ? read : 0;
    const parts = [...sentences.segment(all.slice(start))].map((part) => part.segment);
    if (status === "pending") parts.pop();
    const said = parts.join("");
    if (said.trim()) say(said.trim());
    readOut.set(foot.id, start + said.length);
    if (status === "pending") continue;
    const isAnswer = foot.closest(".message-assistant");
    if (isAnswer) say(foot.querySelector("[data-code]")?.textContent ?? byId("announcer").dataset.finished);
    readOut.set(foot.id, DONE);
  }
};
meet((foot) => spoken(foot).length);
on("htmx:after:swap", announce);

// ---- Times are the reader's: those on the page, and the days of the list.

const YEAR_S = 31_536_000;
const [prefix, secure] = location.protocol === "https:" ? ["__Host-", "; secure"] : ["", ""];
document.cookie = `${prefix}utc_offset=${-new Date().getTimezoneOffset()}; path=/; max-age=${YEAR_S}; samesite=lax${secure}`;
const localTimes = () => {
  for (const time of document.querySelectorAll("time[datetime]:not([data-local])")) {
    time.dataset.local = "";
    time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
};
on("htmx:after:swap", localTimes);

// ---- A link to a chat is told with the address that the reader knows the server by.

const wholeLinks = () => {
  for (const field of document.querySelectorAll("[data-link]")) field.value = new URL(field.value, location).href;
};
on("htmx:after:swap", wholeLinks);

restoreDraft();
localTimes();
wholeLinks();
