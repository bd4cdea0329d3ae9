//! A real browser: Chromium without a window, driven through its DevTools protocol.
//!
//! Whatever a test does here, a person could do: open a page, type, click, look. Each [`Page`] is a
//! person of its own, with a storage that no other page sees.

use crate::folder::Folder;
use crate::log::Log;
use crate::process::{self, Signal};
use crate::slow_network::{self, SlowNetwork};
use crate::wait::{self, PATIENCE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tungstenite::{Message, WebSocket};

/// What Chromium is called, in the order of preference. `KENNEL_BROWSER` names another one.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A test's browser asks nobody but the test's own servers, and leaves nothing behind.
const FLAGS: [&str; 15] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--remote-debugging-port=0",
];

/// A running browser. It ends when dropped.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    session: Session,
    /// `ws://127.0.0.1:PORT`
    address: String,
    namespace: Option<String>,
    _profile: Folder,
}

/// The screen that a page believes to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1180 by 780.
    Desktop,
    /// 390 by 844, two dots to the pixel, fingers instead of a mouse.
    Phone,
}

/// Which colours the person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// One page in a window of its own.
#[derive(Debug)]
pub struct Page {
    session: Session,
}

impl Browser {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When no browser is installed, or it does not start.
    pub fn start() -> Self {
        Self::start_in(None)
    }

    /// Starts it on the clients' side of a network.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_far_away(network: &SlowNetwork) -> Self {
        Self::start_in(Some(network.client_side()))
    }

    fn start_in(namespace: Option<&str>) -> Self {
        let profile = Folder::new();
        let mut process = spawn(profile.path(), namespace);
        let log = Log::collect(process.stderr.take().expect("stderr is a pipe"));
        let line = log.expect("DevTools listening on ");
        let (_, url) = line.split_once("listening on ").expect("the text that was waited for");
        let end = url.find("/devtools/").expect("an address of DevTools");
        let session = Session::connect(url, namespace);
        let (address, namespace) = (url[..end].to_owned(), namespace.map(str::to_owned));
        Self { process, session, address, namespace, _profile: profile }
    }

    /// Stops the processes that run its pages, or lets them go on, as a laptop that sleeps.
    pub fn freeze_pages(&self, yes: bool) {
        let mut waiting = vec![self.process.id()];
        while let Some(pid) = waiting.pop() {
            waiting.extend(process::children(pid));
            if process::command_line(pid).contains("--type=renderer") {
                process::signal(pid, if yes { Signal::STOP } else { Signal::CONT });
            }
        }
    }

    /// Opens a page in a window of its own, as somebody who has never been there.
    ///
    /// # Panics
    ///
    /// When it does not load.
    pub fn open(&mut self, url: &str, screen: Screen) -> Page {
        let person = self.session.call("Target.createBrowserContext", json!({}));
        let window =
            json!({"url": "about:blank", "newWindow": true, "browserContextId": person["browserContextId"]});
        let target = self.session.call("Target.createTarget", window);
        let id = target["targetId"].as_str().expect("a page has an id");
        let address = format!("{}/devtools/page/{id}", self.address);
        let mut page = Page { session: Session::connect(&address, self.namespace.as_deref()) };
        for domain in ["Page", "Runtime", "Log"] {
            page.session.call(&format!("{domain}.enable"), json!({}));
        }
        page.show_on(screen);
        let answer = page.session.call("Page.navigate", json!({ "url": url }));
        assert_eq!(answer["errorText"], Value::Null, "{url} cannot be opened");
        page.until("location.href != 'about:blank' && document.readyState == 'complete'");
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it takes its own processes with it. It may be gone already.
        let _ = self.session.try_call("Browser.close", json!({}));
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(wait::STEP);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Page {
    /// Moves it to another screen.
    pub fn show_on(&mut self, screen: Screen) {
        let (width, height, scale, phone) = match screen {
            Screen::Desktop => (1180, 780, 1, false),
            Screen::Phone => (390, 844, 2, true),
        };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.session.call("Emulation.setDeviceMetricsOverride", metrics);
        self.session.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": phone }));
    }

    /// Asks for light or dark colours.
    pub fn prefer(&mut self, colours: Colours) {
        let value = match colours {
            Colours::Light => "light",
            Colours::Dark => "dark",
        };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.session.call("Emulation.setEmulatedMedia", features);
    }

    /// Takes the network away from it, or gives it back. What is under way breaks.
    pub fn be_offline(&mut self, offline: bool) {
        self.session.call("Network.enable", json!({}));
        let conditions =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.session.call("Network.emulateNetworkConditions", conditions);
    }

    /// The value of a JavaScript expression in the page; of a promise, what it leads to.
    ///
    /// # Panics
    ///
    /// When it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|problem| panic!("`{expression}`: {problem}"))
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.session.try_call("Runtime.evaluate", parameters)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(describe(details)),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    ///
    /// When it is not after [`PATIENCE`], with what the page shows instead and what went wrong in it.
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        // While a page is on its way, nothing can be asked of it.
        while self.try_evaluate(expression) != Ok(Value::Bool(true)) {
            if Instant::now() > deadline {
                let last = self.try_evaluate(expression);
                let shown = self.try_evaluate("document.body.innerText");
                panic!("never true: `{expression}`: {last:?}\n{shown:?}\n{:?}", self.complaints());
            }
            std::thread::sleep(wait::STEP);
        }
    }

    /// Waits until the page shows a text somewhere.
    ///
    /// # Panics
    ///
    /// As [`until`](Self::until).
    pub fn sees(&mut self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Clicks into the middle of an element, once it lies still and nothing is above it.
    ///
    /// # Panics
    ///
    /// When that does not happen.
    pub fn click(&mut self, selector: &str) {
        let look = format!(
            r"new Promise(done => {{
                const element = document.querySelector({}), box = () => element.getBoundingClientRect();
                if (!element) return done(null);
                element.scrollIntoView({{block: 'nearest'}});
                const before = box();
                setTimeout(() => {{
                    const now = box(), x = now.x + now.width / 2, y = now.y + now.height / 2;
                    const above = document.elementFromPoint(x, y);
                    const still = now.x == before.x && now.y == before.y;
                    done(still && element.contains(above) ? {{x, y}} : null);
                }}, 30);
            }})",
            json!(selector)
        );
        let at = wait::until_some(&format!("{selector} can be clicked"), || {
            let at = self.evaluate(&look);
            at.is_object().then_some(at)
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1});
            self.session.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types a text into whatever has the focus.
    pub fn write(&mut self, text: &str) {
        self.session.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases the Enter key.
    pub fn press_enter(&mut self) {
        let key = json!({"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13});
        for (kind, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let mut event = key.clone();
            event["type"] = kind.into();
            event["text"] = text.into();
            self.session.call("Input.dispatchKeyEvent", event);
        }
    }

    /// What can be seen now, as a PNG.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn screenshot(&mut self, file: &Path) {
        let answer = self.session.call("Page.captureScreenshot", json!({"format": "png"}));
        let text = answer["data"].as_str().expect("an image");
        let image = STANDARD.decode(text).expect("an image in base64");
        std::fs::write(file, image).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// What the browser had to complain about so far: exceptions that nobody caught, files that did not
    /// load, what the page's own policy forbids.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever came before this answer is in by then.
        let _ = self.try_evaluate("0");
        self.session.complaints.clone()
    }

    /// Closes its window.
    pub fn close(mut self) {
        // It may be gone before it has answered.
        let _ = self.session.try_call("Page.close", json!({}));
    }
}

fn spawn(profile: &Path, namespace: Option<&str>) -> Child {
    let chosen = std::env::var("KENNEL_BROWSER").ok();
    let names = chosen.as_deref().map_or(NAMES.to_vec(), |name| vec![name]);
    for name in &names {
        let mut command = Command::new(name);
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
        if let Some(namespace) = namespace {
            command = slow_network::inside(namespace, &command);
        }
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
            Ok(process) => return process,
            Err(problem) if problem.kind() == ErrorKind::NotFound => {}
            Err(problem) => panic!("{name} cannot be started: {problem}"),
        }
    }
    panic!(
        "this test needs a browser, and there is no {}: run `scripts/install-missing test`",
        names.join(", ")
    );
}

/// Commands and their answers, one at a time.
#[derive(Debug)]
struct Session {
    socket: WebSocket<TcpStream>,
    last: u64,
    complaints: Vec<String>,
}

impl Session {
    fn connect(url: &str, namespace: Option<&str>) -> Self {
        let host = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let stream = match namespace {
            Some(namespace) => SlowNetwork::connect(namespace, host),
            None => TcpStream::connect(host).unwrap_or_else(|e| panic!("no DevTools at {host}: {e}")),
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        stream.set_nodelay(true).expect("a socket can be told not to wait");
        let (socket, _) = tungstenite::client(url, stream).unwrap_or_else(|e| panic!("{url}: {e}"));
        Self { socket, last: 0, complaints: Vec::new() }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|problem| panic!("{method}: {problem}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last += 1;
        let command = json!({"id": self.last, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(command)).map_err(|e| e.to_string())?;
        loop {
            let message = self.socket.read().map_err(|e| e.to_string())?;
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            if message["id"] != self.last {
                self.note(&message);
            } else if let Some(problem) = message.get("error") {
                return Err(problem.to_string());
            } else {
                return Ok(message["result"].take());
            }
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(describe(&parameters["exceptionDetails"]));
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                let entry = &parameters["entry"];
                self.complaints.push(format!("{} ({})", entry["text"], entry["url"]));
            }
            _ => {}
        }
    }
}

fn describe(exception: &Value) -> String {
    let thrown = &exception["exception"]["description"];
    thrown.as_str().map_or_else(|| exception.to_string(), str::to_owned)
}
