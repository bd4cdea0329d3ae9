// Shows what is said in the room, and says what is typed. /kennel.js keeps the connection: what is typed while it is
// down waits, and goes out when it is back.
const said = document.getElementById("said");
const form = document.getElementById("say");
const state = document.getElementById("state");
const sound = ["Connected", "online"];
let channel = null;

function show(text, kind) {
  state.textContent = text;
  state.dataset.kind = kind;
}

function connect() {
  show("Connecting …", "waiting");
  channel = new KennelChannel("/chat");
  channel.onopen = () => show(...sound);
  channel.onerror = (event) => {
    if (event.detail.delay !== null) show("Connection lost. What you say waits until it is back.", "waiting");
  };
  channel.onclose = (event) => {
    channel = null;
    show(`The server ended the connection (${event.reason || event.code}). The next line connects again.`, "ended");
  };
  channel.onmessage = (event) => {
    const line = document.createElement("li");
    line.textContent = event.data;
    said.append(line);
  };
}

form.onsubmit = (event) => {
  event.preventDefault();
  const field = form.elements.text;
  if (!field.value) return;
  if (!channel) connect();
  channel.send(field.value);
  field.value = "";
};

connect();
