// The page's half of the chat; chat.lua has the other one. Both speak JSON over one channel:
//
//   to the server     hello {name, room}   say {text}   typing
//   from the server   welcome {name, room, here, history}   joined {name, at}   left {name, at}
//                     said {name, text, at}   typing {name}   sorry {text}
//
// Whatever a person wrote gets into the page as text (textContent), never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const log = $("log"), lines = $("lines"), words = $("words"), join = $("join"), side = $("side");

const first_rooms = ["lobby", "lua", "mongrel2"];
const longest_page = 500; // lines that stay in the page
const group_seconds = 180; // lines of one person within this time stand together

const me = { wanted: "", name: "", room: "" };
let here = []; // names of the people in the room
let inside = false; // whether the server has welcomed us to this room

// What the browser remembers: the name for this tab, names and rooms for the next visit.

function remembered(store, key) {
  try {
    return window[store].getItem("kennel-chat-" + key) || "";
  } catch {
    return "";
  }
}

function remember(store, key, value) {
  try {
    window[store].setItem("kennel-chat-" + key, value);
  } catch {
    // A browser that keeps nothing can chat all the same.
  }
}

// The connection, by kennel.js: a WebSocket, or whatever gets through. It comes back by itself.

let channel = null, retry_at = 0, retry_timer = 0;

function connect() {
  channel = new KennelChannel("chat");
  show_state("connecting");
  channel.onopen = (event) => {
    clearTimeout(retry_timer);
    if (event.detail.resumed && inside) show_state("online");
    else hello();
  };
  channel.onmessage = (event) => receive(JSON.parse(event.data));
  channel.onerror = (event) => lost(event.detail.delay || 15000);
  channel.onclose = () => {
    channel = null;
    lost(15000);
  };
}

function send(message) {
  if (channel?.readyState !== KennelChannel.OPEN) return false;
  channel.send(JSON.stringify(message));
  return true;
}

function hello() {
  inside = false;
  send({ type: "hello", name: me.wanted, room: me.room });
}

function lost(delay) {
  forget_typing();
  clearTimeout(retry_timer);
  retry_at = Date.now() + delay;
  show_state("offline");
  count_down();
}

function count_down() {
  const left = retry_at - Date.now();
  if (left <= 0) return connect_now();
  $("lost-text").textContent = `Connection lost, next try in ${Math.ceil(left / 1000)}\u00a0s.`;
  retry_timer = setTimeout(count_down, Math.min(left, 1000));
}

function connect_now() {
  if (!me.wanted || document.body.dataset.state !== "offline") return;
  clearTimeout(retry_timer);
  show_state("connecting");
  if (channel) channel.retry();
  else connect();
}

const states = { connecting: "Connecting", online: "Online", offline: "Offline" };

function show_state(state) {
  document.body.dataset.state = state;
  if ($("state").textContent !== states[state]) $("state").textContent = states[state];
  // While it tries again, the line stays where it is and nothing jumps.
  if (state === "online") $("lost").hidden = true;
  if (state === "offline") $("lost").hidden = false;
  if (state === "connecting") $("lost-text").textContent = "Connection lost, trying now.";
  show_send();
}

// What the server says

const on = {
  welcome(message) {
    if (message.room !== me.room) return; // we have gone elsewhere meanwhile
    inside = true;
    me.name = message.name;
    here = message.here;
    log.setAttribute("aria-busy", "true"); // old lines are not read out
    message.history.filter(is_new).forEach(add_said);
    log.removeAttribute("aria-busy");
    $("empty").hidden = lines.childElementCount > 0;
    show_people();
    show_state("online");
    to_newest();
  },
  joined(message) {
    here.push(message.name);
    show_people();
    add_note(message.name, " joined");
  },
  left(message) {
    const index = here.indexOf(message.name);
    if (index >= 0) here.splice(index, 1);
    stop_typing(message.name);
    show_people();
    add_note(message.name, " left");
  },
  said(message) {
    stop_typing(message.name);
    add_said(message);
    if (document.hidden) show_unread(unread + 1);
  },
  typing(message) {
    clearTimeout(typing.get(message.name));
    typing.set(message.name, setTimeout(stop_typing, 4000, message.name));
    show_typing();
  },
  sorry(message) {
    open_door();
    $("sorry").textContent = message.text;
  },
};

function receive(message) {
  const is_greeting = message.type === "welcome" || message.type === "sorry";
  // Between two rooms, what comes is still from the old one.
  if (Object.hasOwn(on, message.type) && (inside || is_greeting)) on[message.type](message);
}

// Lines

let last = null; // the last line, if it is something said: { name, at, item }
let last_day = "";
let shown = new Set(); // so that a new connection adds only what was missed

const key_of = (line) => JSON.stringify([line.name, line.text, line.at]);
const is_new = (line) => !shown.has(key_of(line));

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full_time = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

function clear() {
  lines.replaceChildren();
  last = null;
  last_day = new Date().toDateString(); // today needs no heading
  shown = new Set();
  forget_typing();
  $("empty").hidden = true;
  $("newest").hidden = true;
}

function add_said(line) {
  const date = new Date(line.at * 1000);
  show_day(date);
  shown.add(key_of(line));
  const mine = line.name === me.name;
  const item = element("li", "said last" + (mine ? " mine" : ""));
  item.title = full_time.format(date);
  if (last && last.name === line.name && line.at - last.at < group_seconds) {
    last.item.classList.remove("last");
    item.append(element("span", "unseen", (mine ? "You" : line.name) + ": "));
  } else {
    item.classList.add("first");
    const meta = element("div", "meta");
    meta.append(mine ? element("span", "unseen", "You") : coloured(element("bdi", "", line.name), line.name));
    const time = element("time", "", clock.format(date));
    time.dateTime = date.toISOString();
    meta.append(time);
    item.append(meta);
    if (!mine) item.prepend(avatar(line.name));
  }
  const text = element("p", "words");
  text.dir = "auto";
  text.append(with_links(line.text));
  item.append(text);
  append(item, mine);
  last = { name: line.name, at: line.at, item };
}

function add_note(name, what) {
  const item = element("li", "note");
  item.append(element("bdi", "", name), what);
  last = null;
  append(item, false);
}

function show_day(date) {
  const day = date.toDateString();
  if (day === last_day) return;
  last_day = day;
  const today = day === new Date().toDateString();
  last = null;
  append(element("li", "note day", today ? "Today" : calendar.format(date)), false);
}

function append(item, mine) {
  $("empty").hidden = true;
  lines.append(item);
  if (pinned || mine) {
    to_newest();
  } else {
    $("newest").hidden = false;
  }
  while (lines.childElementCount > longest_page) lines.firstElementChild.remove();
}

// http and https addresses become links; full stops and the like after them do not belong to them.
function with_links(text) {
  const fragment = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"]+/gi)) {
    let address = found[0].replace(/[.,:;!?'*_]+$/, "");
    while (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
    if (!URL.canParse(address)) continue;
    const link = element("a", "", address);
    link.href = address;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    fragment.append(text.slice(from, found.index), link);
    from = found.index + address.length;
  }
  fragment.append(text.slice(from));
  return fragment;
}

// The newest line stays in sight as long as the reader has not scrolled away from it.

let pinned = true;

function to_newest() {
  log.scrollTop = log.scrollHeight;
  pinned = true;
  $("newest").hidden = true;
}

log.addEventListener("scroll", () => {
  pinned = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  if (pinned) $("newest").hidden = true;
});
new ResizeObserver(() => pinned && to_newest()).observe(log);
$("newest").addEventListener("click", () => {
  to_newest();
  words.focus();
});

// People

function element(tag, style, text) {
  const made = document.createElement(tag);
  if (style) made.className = style;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The same name has the same colour everywhere: one of 24 hues, by a hash (FNV-1a).
function coloured(node, name) {
  let hash = 2166136261;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  node.style.setProperty("--hue", ((hash ^ (hash >>> 15)) % 24) * 15);
  return node;
}

const initial = (name) => [...name][0].toUpperCase();

function avatar(name) {
  const made = coloured(element("span", "avatar", initial(name)), name);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function show_people() {
  const others = here.filter((name) => name !== me.name);
  others.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const items = [me.name, ...others].map((name) => {
    const item = element("li");
    item.append(avatar(name), element("bdi", "", name));
    if (name === me.name) item.append(element("small", "", "you"));
    return item;
  });
  $("people").replaceChildren(...items);
  $("count").textContent = here.length;
  $("summary").textContent = here.length === 1 ? "Only you are here" : `${here.length} people`;
  $("self").hidden = false;
  $("self-name").textContent = me.name;
  $("self-avatar").textContent = initial(me.name);
  coloured($("self-avatar"), me.name);
}

const typing = new Map(); // name: the timer that ends it

function stop_typing(name) {
  clearTimeout(typing.get(name));
  if (typing.delete(name)) show_typing();
}

function forget_typing() {
  typing.forEach((timer) => clearTimeout(timer));
  typing.clear();
  show_typing();
}

function show_typing() {
  const names = [...typing.keys()];
  const who = names.length > 2 ? "Several people are" : names.join(" and ") + (names.length > 1 ? " are" : " is");
  $("typing").textContent = names.length ? `${who} typing\u2026` : "";
}

let unread = 0;

function show_unread(count) {
  unread = count;
  document.title = `${unread ? `(${unread}) ` : ""}#${me.room} \u00b7 Kennel chat`;
}

// Rooms. The room is the address's fragment, so a link leads into it.

function room_name(text) {
  return [...text.trim().toLowerCase().replace(/\s+/g, "-")].slice(0, 24).join("");
}

function room_in_address() {
  try {
    return room_name(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return "";
  }
}

function enter_room() {
  const room = room_in_address() || first_rooms[0];
  if (room === me.room) return;
  me.room = room;
  $("room").textContent = room;
  words.placeholder = `Message #${room}`;
  clear();
  show_rooms();
  show_unread(0);
  show_drawer(false);
  hello();
}

function show_rooms() {
  const visited = remembered("localStorage", "rooms").split("\n").filter(Boolean);
  const rooms = [...new Set([...first_rooms, me.room, ...visited])].slice(0, 12);
  remember("localStorage", "rooms", rooms.join("\n"));
  const items = rooms.map((room) => {
    const link = element("a", "", room);
    link.href = "#" + encodeURIComponent(room);
    if (room === me.room) link.setAttribute("aria-current", "page");
    const item = element("li");
    item.append(link);
    return item;
  });
  $("rooms").replaceChildren(...items);
}

$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = room_name($("other-room").value);
  if (!room) return;
  $("other-room").value = "";
  location.hash = encodeURIComponent(room);
});

// The drawer, on narrow screens

const narrow = matchMedia("(max-width: 44rem)");

function show_drawer(open) {
  const was_open = side.classList.contains("open");
  side.classList.toggle("open", open && narrow.matches);
  side.inert = narrow.matches && !open;
  $("menu").setAttribute("aria-expanded", String(open && narrow.matches));
  if (open) side.querySelector("[aria-current]").focus();
  else if (was_open && narrow.matches) $("menu").focus();
}

narrow.addEventListener("change", () => show_drawer(false));
$("menu").addEventListener("click", () => show_drawer(true));
$("scrim").addEventListener("click", () => show_drawer(false));
$("rooms").addEventListener("click", () => show_drawer(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && show_drawer(false));

// The door: where a name is given, the first time and whenever it shall change

function open_door() {
  if (join.open) return;
  $("name").value = me.wanted || remembered("localStorage", "name");
  $("sorry").textContent = "";
  $("cancel").hidden = !me.name;
  $("join-title").textContent = me.name ? "Change your name" : "Come in";
  $("join-text").textContent = me.name ? "Everybody in the room will see it." : `You are at the door of #${me.room}.`;
  $("join-button").textContent = me.name ? "Change" : "Join";
  show_drawer(false);
  join.showModal();
  $("name").select();
}

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.replace(/\s+/g, " ").trim();
  if (!name) {
    $("sorry").textContent = "A name has at least one character.";
    return;
  }
  me.wanted = name;
  remember("sessionStorage", "name", name);
  remember("localStorage", "name", name);
  join.close();
  words.focus();
  if (channel) hello();
  else connect();
});
join.addEventListener("cancel", (event) => !me.name && event.preventDefault());
join.addEventListener("close", () => !me.wanted && open_door());
$("cancel").addEventListener("click", () => join.close());
$("self").addEventListener("click", open_door);

// Writing

let told_typing = 0;

function show_send() {
  $("send").disabled = !inside || document.body.dataset.state !== "online" || !words.value.trim();
  words.style.height = "auto";
  words.style.height = words.scrollHeight + "px";
  const left = 1000 - words.value.length;
  $("left").textContent = left <= 100 ? left : "";
}

words.addEventListener("input", () => {
  show_send();
  if (words.value.trim() && Date.now() - told_typing > 2500 && inside) {
    told_typing = Date.now();
    send({ type: "typing" });
  }
});

words.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = words.value.trim();
  // Offline, what was written stays in the field.
  if (!text || !inside || !send({ type: "say", text })) return;
  words.value = "";
  told_typing = 0;
  show_send();
  words.focus();
});

// The world around

$("retry").addEventListener("click", connect_now);
addEventListener("hashchange", enter_room);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  show_unread(0);
  connect_now();
});

// Keyboards of some phones cover the page instead of making it smaller.
const viewport = window.visualViewport;
viewport?.addEventListener("resize", () => {
  if (viewport.scale > 1.01) return; // zoomed by the reader
  document.documentElement.style.setProperty("--height", viewport.height + "px");
  scrollTo(0, 0);
});

enter_room();
show_drawer(false);
me.wanted = remembered("sessionStorage", "name");
if (me.wanted) connect();
else open_door();
