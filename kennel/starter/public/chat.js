// Shows what is said in the room, and says what is typed.
const said = document.getElementById("said");
const form = document.getElementById("say");
const address = location.href.replace(/^http/, "ws").replace(/[?#].*/, "") + "chat";
const socket = new WebSocket(address);

socket.onmessage = (event) => {
  const line = document.createElement("li");
  line.textContent = event.data;
  said.append(line);
};

form.onsubmit = (event) => {
  event.preventDefault();
  const field = form.elements.text;
  if (field.value) socket.send(field.value);
  field.value = "";
};
