import kennel

app = kennel.App()

PAGE = """
<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>NAME</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/style.css">
  <h1>NAME</h1>
  <p>Open this page in a second window, and say something.</p>
  <p id="state" role="status">Connecting …</p>
  <ul id="said" aria-label="What was said" aria-live="polite"></ul>
  <form id="say">
    <label for="text">Your message</label>
    <input id="text" name="text" autocomplete="off" autofocus>
    <button>Send</button>
  </form>
  <script src="/kennel.js"></script>
  <script src="/chat.js"></script>
</html>
"""


@app.get("/")
def page(req):
    return kennel.html(PAGE)


@app.get("/hello/{name}")
def hello(req, name):
    # A dict is answered as JSON.
    return {"text": f"{kennel.config['greeting']}, {name}!"}


@app.channel("/chat")
class Chat:
    """What one says, everybody in the room hears."""

    def open(self, conn):
        conn.join("everybody")

    def message(self, conn, text):
        kennel.room("everybody").send(text)
