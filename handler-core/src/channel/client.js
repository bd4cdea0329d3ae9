// KennelChannel: a connection to a channel of Kennel, used like a WebSocket. It opens a WebSocket, or else an event
// stream, or else long polls, and comes back by itself when it was cut off or hears nothing. What it promises:
// docs/channels.md.
//
//   <script src="/kennel.js"></script>        or, in a module,        import "/kennel.js";
//   const channel = new KennelChannel("/chat");
//   channel.onopen = (event) => channel.send("hello by " + event.detail.transport);
//   channel.onmessage = (event) => console.log(event.data);

(() => {
  "use strict";

  const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
  const patience = 3; // how often what has worked is tried before something else is
  const steady = 5000; // ms after which a connection is taken to hold
  const temporary = [1001, 1006, 1012, 1013]; // ends after which a new connection is made
  const numbered = "kennel.session.1"; // the subprotocol by which a WebSocket carries a session
  const gone = 1012; // how a WebSocket ends whose session is not there any more
  const failure = "kennel dev: "; // what stands before an error of the script in a close's reason, under `kennel dev`
  const acknowledgeBytes = 65536, acknowledgeTime = 5000; // when what has come is acknowledged at the latest

  const defaults = {
    /** Subprotocols, for WebSockets. @type {string | string[]} */
    protocols: [],
    /** What may carry it, the best first. */
    carriers: ["websocket", "sse", "poll"],
    /** ms in which a carrier has to open, before the next one is tried. */
    timeout: 5000,
    /** Whether it comes back by itself, */
    reconnect: true,
    /** after how many ms at least, */
    minDelay: 500,
    /** and at most: by chance between the least and a bound that doubles each time. */
    maxDelay: 30000,
    /** Bytes that may wait to be sent; one message alone may have more. */
    maxQueue: 4 << 20,
    /** Whether cookies go to another origin than the page's. */
    withCredentials: false,
  };

  /**
   * An attempt to connect, and what comes of it. `signs`: how often something came, `heard`: when that was last. Of a
   * WebSocket that carries a session, `sent`: how many of the messages that wait are on their way, `busy`: they are not
   * taken now, `number`: of the last message that came, `open`: messages and bytes that came and are not acknowledged.
   * @typedef {{name: string, isUp: boolean, since: number, stop: () => void, socket?: WebSocket, isPlain: boolean,
   *   signs: number, heard: number, isAsked: boolean, sent: number, busy: boolean, number: number, protocol: string,
   *   every: number, openMessages: number, openBytes: number, timer: any}} Link
   *
   * A conversation: its name, the numbers of the last message that came and of the last that arrived there, the seconds
   * that a poll may wait, the ms between two signs of life, the work of sending by requests, if there is some, and what
   * ends the request that is under way.
   * @typedef {{name: string, after: number, said: number, wait: number, interval: number,
   *   saying: Promise<void> | null, stop: () => void}} Session
   *
   * A message that waits to be sent, or to be acknowledged. `doubt`: it may have arrived already.
   * @typedef {{data: any, size: number, doubt: boolean}} Waiting
   */

  /** @param {number} status */
  const isRefusal = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status);

  /** @param {number} ms */
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  /**
   * Shows an error of the channel's script above the page. The server tells it under `kennel dev` alone.
   * @param {string} url @param {string} error
   */
  function show(url, error) {
    console.error(`kennel: ${url}: ${error}`);
    if (typeof document === "undefined" || !document.body) return;
    const box = document.createElement("div"), button = document.createElement("button");
    box.id = "kennel-error";
    box.setAttribute("role", "alert");
    box.style.cssText = "position:fixed;z-index:2147483647;left:0;right:0;bottom:0;padding:1em;background:#8c1c13;" +
      "color:#fff;font:16px/1.5 system-ui,sans-serif;white-space:pre-wrap;overflow-wrap:anywhere";
    box.textContent = `The channel ${new URL(url).pathname} failed: ${error}\n` +
      "The log has the traceback. Save the file and reload this page. ";
    button.textContent = "Close";
    button.onclick = () => box.remove();
    box.append(button);
    document.getElementById(box.id)?.remove();
    document.body.append(box);
  }

  /** The bytes that a text takes. @param {string} text */
  const utf8 = (text) => new TextEncoder().encode(text).length;

  /** @param {string} base64 */
  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;

  /** @param {any} opened what the server says of it @returns {Session} */
  function newSession(opened) {
    const ping = Number(opened.ping) || 0;
    let wait = Number(opened.wait) || 25;
    if (ping) wait = Math.max(1, Math.min(wait, Math.floor(ping)));
    return { name: opened.session, after: 0, said: 0, wait, interval: ping * 1000, saying: null, stop() {} };
  }

  /** What a text says as JSON, if it is an object; else an empty one. @param {string} text */
  function object(text) {
    try {
      return Object(JSON.parse(text));
    } catch (problem) {
      return {};
    }
  }

  class KennelChannel extends EventTarget {
    /**
     * @param {string | URL} url of the channel: relative, or by http, https, ws or wss
     * @param {Partial<typeof defaults> | string | string[]} [options] or, as with a WebSocket, the subprotocols
     */
    constructor(url, options = {}) {
      super();
      if (typeof options === "string" || Array.isArray(options)) options = { protocols: options };
      this._options = Object.assign({}, defaults, options);
      const unknown = this._options.carriers.filter((name) => !defaults.carriers.includes(name));
      if (unknown.length) throw new TypeError(`no such carrier: ${unknown}; there are ${defaults.carriers}`);
      this._carriers = this._options.carriers.filter((name) => name !== "sse" || typeof EventSource === "function");
      if (!this._carriers.length) throw new TypeError("no carrier that this browser has");
      this._url = new URL(String(url), typeof document === "object" ? document.baseURI : location.href);
      this._url.protocol = this._url.protocol.replace("ws", "http");
      this._url.hash = "";

      /** What bytes come as. @type {"blob" | "arraybuffer"} */
      this.binaryType = "blob";
      /** @type {((event: CustomEvent<{transport: string, resumed: boolean, lost: number}>) => any) | null} */
      this.onopen = null;
      /** @type {((event: MessageEvent) => any) | null} */
      this.onmessage = null;
      /** @type {((event: CustomEvent<{message: string, delay: number | null}>) => any) | null} */
      this.onerror = null;
      /** @type {((event: CloseEvent) => any) | null} */
      this.onclose = null;
      for (const type of ["open", "message", "error", "close"]) {
        this.addEventListener(type, (event) => {
          const handler = /** @type {any} */ (this)["on" + type];
          if (typeof handler === "function") handler.call(this, event);
        });
      }

      this._state = CONNECTING;
      /** @type {Link | null} */
      this._link = null;
      /** @type {Session | null} */
      this._session = null;
      /** @type {Waiting[]} */
      this._queue = [];
      this._queued = 0; // bytes
      /** What waits for the end of `onopen`. @type {Waiting[]} */
      this._held = [];
      /** The carriers to try before the next delay. @type {string[]} */
      this._round = [];
      this._worked = ""; // the carrier that opened last
      this._wasOpen = false;
      this._failures = 0; // one behind the other
      this._silent = 0; // carriers that were given up, one behind the other, because nothing came
      /** Of our close. @type {number | undefined} */
      this._code = undefined;
      this._reason = "";
      this._outside = {
        online: () => this._wake(),
        pageshow: () => this._wake(),
        visibilitychange: () => document.visibilityState === "visible" && this._wake(),
        pagehide: (/** @type {any} */ event) => this._leave(event.persisted),
      };
      for (const [type, listener] of Object.entries(this._outside)) addEventListener(type, listener);
      /** Set while it waits to try; now, for those who have yet to listen. @type {any} */
      this._timer = setTimeout(() => this.retry());
    }

    get url() {
      return this._url.href.replace("http", "ws");
    }

    get readyState() {
      return this._state;
    }

    /** What carries it: `websocket`, `sse` or `poll`; empty while it is not open. */
    get transport() {
      return this._link && this._link.isUp ? this._link.name : "";
    }

    get protocol() {
      const link = this._link;
      return !link || !link.socket ? "" : link.isPlain ? link.socket.protocol : link.protocol;
    }

    get extensions() {
      return this._link && this._link.socket ? this._link.socket.extensions : "";
    }

    /** Bytes that were given to `send` and have not arrived, as far as is known. */
    get bufferedAmount() {
      const link = this._link;
      return this._queued + (link && link.socket && link.isPlain ? link.socket.bufferedAmount : 0);
    }

    /**
     * Sends a message, or keeps it until there is a connection. When closed, it is dropped, as by a WebSocket.
     * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
     * @throws {DOMException} QuotaExceededError: more than `maxQueue` bytes would wait.
     */
    send(data) {
      if (this._state >= CLOSING) return;
      const socket = this._link && this._link.socket;
      if (socket && this._link && this._link.isPlain && this._state === OPEN && socket.readyState === OPEN) {
        socket.send(/** @type {any} */ (data));
        return;
      }
      /** @type {any} */
      let kept = data;
      if (ArrayBuffer.isView(data)) kept = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer;
      else if (data instanceof ArrayBuffer) kept = data.slice(0);
      else if (!(data instanceof Blob)) kept = String(data);
      const size = typeof kept === "string" ? utf8(kept) : kept.size || kept.byteLength || 0;
      if (this._queued && this._queued + size > this._options.maxQueue) {
        throw new DOMException(`${this._queued} bytes wait already; ${size} more are too many`, "QuotaExceededError");
      }
      this._queue.push({ data: kept, size, doubt: false });
      this._queued += size;
      this._flush();
    }

    /**
     * Closes it, behind what waits to be sent.
     * @param {number} [code] 1000, or 3000 to 4999
     */
    close(code, reason = "") {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
        throw new DOMException(`close code ${code}: 1000, or 3000 to 4999`, "InvalidAccessError");
      }
      if (utf8(reason) > 123) {
        throw new DOMException("a close reason has at most 123 bytes", "SyntaxError");
      }
      if (this._state >= CLOSING) return;
      this._release();
      this._state = CLOSING;
      [this._code, this._reason] = [code, reason];
      clearTimeout(this._timer);
      const link = this._link;
      if (link && link.socket && link.isPlain) {
        this._closeSocket(link.socket);
        return;
      }
      if (link && link.socket && link.isUp) {
        if (!this._queue.length) this._closeSocket(link.socket);
        // Else when all has arrived. If the line is dead, it is said another way.
        const session = this._session;
        this._timer = setTimeout(() => {
          this._leaveLine(link);
          if (this._link === link) this._link = null;
          if (session) this._finish(session, code);
        }, this._options.timeout);
        return;
      }
      if (link) link.stop();
      this._link = null;
      if (this._session) this._finish(this._session, code);
      else setTimeout(() => this._end(1006, "closed before it was open", false));
    }

    /** @param {WebSocket} socket */
    _closeSocket(socket) {
      if (this._code === undefined) socket.close();
      else socket.close(this._code, this._reason);
    }

    /** Tries to connect now, if it waits to do that later. */
    retry() {
      if (this._state !== CONNECTING || this._timer === null) return;
      clearTimeout(this._timer);
      this._timer = null;
      const known = this._worked && this._failures < patience;
      this._round = known ? [this._worked] : this._carriers.slice();
      this._try();
    }

    _try() {
      /** @type {Link} */
      const link = Object.assign(
        { name: String(this._round.shift()), isUp: false, since: 0, stop() {}, isPlain: false, protocol: "" },
        { signs: 0, heard: 0, isAsked: false, sent: 0, busy: false, number: 0 },
        { every: 64, openMessages: 0, openBytes: 0, timer: undefined },
      );
      this._link = link;
      if (link.name === "websocket") this._openSocket(link);
      else if (link.name === "sse") this._openEvents(link);
      else this._poll(link);
    }

    // The three carriers

    /** @param {Link} link */
    _openSocket(link) {
      const session = this._session;
      /** @type {WebSocket} */
      let socket;
      try {
        const where = this._at(session ? { session: session.name, after: session.after } : {});
        socket = new WebSocket(where.replace("http", "ws"), [numbered].concat(this._options.protocols));
      } catch (problem) {
        this._down(link, String(problem));
        return;
      }
      const timer = setTimeout(() => this._down(link, "the WebSocket does not open"), this._options.timeout);
      link.socket = socket;
      link.stop = () => {
        clearTimeout(timer);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
      };
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        // Where a script decides about handshakes, or the server is an older one, it is a plain WebSocket.
        if (socket.protocol === numbered) return;
        clearTimeout(timer);
        link.isPlain = true;
        this._forget();
        this._up(link, false);
      };
      socket.onmessage = ({ data }) => {
        if (link.isPlain) {
          this._receive(data);
          return;
        }
        this._sign(link);
        if (typeof data !== "string") this._take(link, data, data.byteLength);
        else if (data.startsWith("=")) this._take(link, data.slice(1), data.length);
        else {
          if (!link.isUp) clearTimeout(timer);
          this._steer(link, object(data));
        }
      };
      socket.onclose = (event) => {
        clearTimeout(timer);
        const { code, reason, wasClean } = event;
        if (!link.isUp) {
          if (code === gone && this._session && this._link === link) {
            // The session is not there any more: another one is opened in the same way.
            this._forget();
            this._round.unshift(link.name);
          }
          this._down(link, reason || "the WebSocket was refused");
        } else if (link.isPlain || wasClean) {
          this._closed(link, code, reason, wasClean);
        } else {
          this._down(link, "the WebSocket broke off");
        }
      };
    }

    /** A message by a WebSocket that carries a session. @param {Link} link @param {any} data @param {number} size */
    _take(link, data, size) {
      link.number += 1;
      link.openMessages += 1;
      link.openBytes += size;
      this._receive(data, link.number);
      if (link.openMessages >= link.every || link.openBytes >= acknowledgeBytes) this._acknowledge(link);
      else if (!link.timer) link.timer = setTimeout(() => this._acknowledge(link), acknowledgeTime);
    }

    /** Tells the server what has come. @param {Link} link */
    _acknowledge(link) {
      clearTimeout(link.timer);
      link.timer = undefined;
      if (!link.openMessages) return;
      link.openMessages = link.openBytes = 0;
      this._tell(link, { after: link.number });
    }

    /** @param {Link} link @param {any} what */
    _tell(link, what) {
      if (link.socket && link.socket.readyState === OPEN) link.socket.send(JSON.stringify(what));
    }

    /** What the server says about the session itself. @param {Link} link @param {any} said */
    _steer(link, said) {
      if (this._link !== link) return;
      if (said.session) {
        if (!this._session || !said.resumed) this._session = newSession(said);
        link.number = this._session.after;
        link.every = said.acknowledge || link.every;
        link.protocol = said.protocol || "";
        this._arrived(link, said.received);
        link.sent = 0;
        this._up(link, said.resumed);
        return;
      }
      if (said.number) link.number = said.number - 1;
      if (said.received !== undefined) this._arrived(link, said.received);
      if (said.busy) {
        Object.assign(link, { busy: true, sent: 0 });
        setTimeout(() => {
          if (this._link !== link || !this._session) return;
          link.busy = false;
          this._flush();
        }, 1000);
      }
      if (said.refused && this._session) {
        // The server has not taken these, so they are not in doubt.
        const first = Math.max(0, said.refused - this._session.said - 1);
        for (const message of this._queue.slice(first)) message.doubt = false;
      }
      if (!Object.keys(said).length) this._acknowledge(link);
    }

    /** The server has the messages up to this number. @param {Link} link @param {number} number */
    _arrived(link, number) {
      const session = this._session;
      while (session && session.said < number && this._queue.length) {
        this._unqueue();
        session.said += 1;
        link.sent = Math.max(0, link.sent - 1);
      }
      if (this._state === CLOSING && !this._queue.length && link.socket) this._closeSocket(link.socket);
    }

    /** @param {Link} link */
    _openEvents(link) {
      const session = this._session;
      const where = this._at(session ? { session: session.name, after: session.after } : {});
      const source = new EventSource(where, { withCredentials: this._options.withCredentials });
      /** @param {string} why */
      const fail = (why) => {
        if (this._link !== link) return;
        link.stop();
        // What is wrong with a session is said to polls only.
        if (session && !link.isUp) this._poll(link);
        else this._down(link, why);
      };
      const timer = setTimeout(fail, this._options.timeout, "the event stream does not begin");
      link.stop = () => {
        clearTimeout(timer);
        source.close();
      };
      source.onerror = () => fail("the event stream broke off");
      /** @type {(type: string, act: (event: MessageEvent) => void) => void} */
      const on = (type, act) => {
        source.addEventListener(type, (event) => {
          // An `open` without data is the browser's.
          if (this._link !== link || /** @type {any} */ (event).data === undefined) return;
          this._sign(link);
          act(/** @type {any} */ (event));
        });
      };
      /** @param {MessageEvent} event */
      const number = (event) => Number(event.lastEventId.split(".").pop());
      on("open", (event) => {
        clearTimeout(timer);
        const opened = object(event.data);
        this._session = session || newSession(opened);
        this._up(link, opened.resumed);
      });
      on("message", (event) => this._receive(event.data, number(event)));
      on("encoded", (event) => this._receive(JSON.parse(event.data), number(event)));
      on("binary", (event) => this._receive(bytes(event.data), number(event)));
      on("alive", () => {});
      on("close", (event) => {
        const { code, reason } = object(event.data);
        this._closed(link, code, reason, true);
      });
    }

    /**
     * Polls for as long as the link stands; once, where polls are not a carrier, to find out why a stream does not open.
     * @param {Link} link
     */
    async _poll(link) {
      const timeout = this._options.timeout;
      if (!this._session) {
        const { status, text, json } = await this._ask("POST", {}, timeout);
        if (this._link !== link) {
          if (json.session) this._ask("POST", { session: json.session, close: "" }, timeout);
          return;
        }
        if (status !== 201 || !json.session) {
          this._down(link, text, status);
          return;
        }
        this._session = newSession(json);
        this._up(link, false);
      }
      while (this._link === link && this._session) {
        const session = this._session;
        const wait = link.isUp ? session.wait : 0;
        const asked = Date.now();
        const query = { session: session.name, after: session.after, wait };
        const { status, text, json } = await this._ask("GET", query, wait * 1000 + timeout, {}, link);
        if (this._link !== link) return;
        if (status === 200) this._sign(link);
        if (status !== 200 || !Array.isArray(json.messages)) {
          if (isRefusal(status)) this._forget();
          // Something on the way may not bear to wait so long.
          if (status >= 500) session.wait = Math.max(5, Math.ceil(session.wait / 2));
          this._down(link, text);
          return;
        }
        if (link.name !== "poll") {
          if (this._carriers.includes("poll")) {
            // The way of streams is closed, that of polls is not: the same session goes on there.
            link.name = "poll";
          } else if (!json.close) {
            // The session lives. Its messages wait for the next stream, which opens it.
            this._down(link, "the event stream does not open");
            return;
          }
        }
        if (!link.isUp) this._up(link, true);
        const before = json.after - json.messages.length;
        json.messages.forEach((/** @type {any} */ message, /** @type {number} */ at) => {
          this._receive(typeof message === "string" ? message : bytes(message.base64), before + at + 1);
        });
        if (json.close) this._closed(link, json.close.code, json.close.reason, true);
        // Whoever shares a session with another one would be answered with nothing, again and again.
        else if (wait && !json.messages.length && Date.now() - asked < 200) await pause(500);
      }
    }

    // What becomes of a link

    /** @param {Link} link @param {boolean} resumed */
    _up(link, resumed) {
      if (this._link !== link) return;
      Object.assign(link, { isUp: true, since: Date.now(), heard: Date.now() });
      if (this._state === CONNECTING) this._state = OPEN;
      this._worked = link.name;
      this._wasOpen = true;
      // Nothing is sent twice: what an ended session has perhaps received, the next one does not get.
      let lost = 0;
      for (; !resumed && this._queue.length && this._queue[0].doubt; lost++) this._unqueue();
      // What is said when a conversation begins comes before what has waited for that.
      this._held = resumed ? [] : this._queue.splice(0);
      this.dispatchEvent(new CustomEvent("open", { detail: { transport: link.name, resumed, lost } }));
      this._release();
      this._watch(link);
    }

    /** What waits for the end of `onopen` goes behind what was said there. */
    _release() {
      this._queue = this._queue.concat(this._held.splice(0));
      this._flush();
    }

    /** Something came. @param {Link} link */
    _sign(link) {
      link.signs += 1;
      link.heard = Date.now();
      if (link.isUp) this._silent = 0;
    }

    /**
     * Gives a carrier up when the second sign of life is missing, a little before two intervals are over, so that it is back
     * when they are. A large message over a slow line is silence as well, so the time doubles with each carrier that was
     * given up before anything came by it.
     * @param {Link} link
     */
    _watch(link) {
      const interval = this._session && !link.isPlain ? this._session.interval : 0;
      if (!interval) return;
      // A poll is silent while it is held.
      const held = link.socket || !this._session ? 0 : this._session.wait * 1000 + interval;
      const step = Math.min(interval / 8, 5000);
      const least = Math.max(1.6 * interval, held);
      let last = Date.now();
      const look = () => {
        if (this._link !== link || this._state === CLOSED) return;
        const now = Date.now(), slept = now - last > step + interval;
        const bound = least * 2 ** Math.min(this._silent, 5);
        last = now;
        // Where the page itself has slept, what came meanwhile is still to be read.
        if (slept) this._wake();
        else if (now - link.heard > bound && !link.isAsked) {
          this._silent += 1;
          this._down(link, `nothing came for ${bound} ms`);
          this.retry();
          return;
        }
        setTimeout(look, step);
      };
      setTimeout(look, step);
    }

    /** The network or the page is back: it connects now, or finds out whether the connection is still one. */
    _wake() {
      this.retry();
      const link = this._link, session = this._session;
      if (this._state !== OPEN || !link || !link.isUp || !session || link.isAsked) return;
      link.isAsked = true;
      const signs = link.signs, timeout = this._options.timeout;
      if (link.socket) this._tell(link, { ask: true });
      else this._ask("POST", { session: session.name, alive: "" }, timeout);
      setTimeout(() => {
        link.isAsked = false;
        if (this._link !== link || link.signs !== signs) return;
        this._down(link, `nothing came for ${timeout} ms`);
        this.retry();
      }, session.interval ? Math.min(timeout, 2 * session.interval) : timeout);
    }

    /** @param {any} data @param {number} [number] */
    _receive(data, number) {
      if (number !== undefined && this._session) {
        if (number <= this._session.after) return;
        this._session.after = number;
      }
      if (this._state !== OPEN) return;
      if (data instanceof ArrayBuffer && this.binaryType === "blob") data = new Blob([data]);
      this.dispatchEvent(new MessageEvent("message", { data, origin: new URL(this.url).origin }));
    }

    /**
     * The server closed it, or a WebSocket ended.
     * @param {Link} link @param {number} code @param {string} reason @param {boolean} clean
     */
    _closed(link, code, reason, clean) {
      if (this._link !== link) return;
      if (this._state === CLOSING || !this._options.reconnect || !temporary.includes(code)) {
        this._end(code, reason || this._reason, clean);
        return;
      }
      this._forget();
      this._down(link, `closed with ${code} ${reason}`);
    }

    /** A link is gone, or did not come about. @param {Link} link @param {string} message @param {number} [status] */
    _down(link, message, status = 0) {
      if (this._link !== link) return;
      if (this._options.reconnect || this._state === CLOSING) this._leaveLine(link);
      else link.stop();
      clearTimeout(link.timer);
      this._link = null;
      // What is being sent goes by the same line. It has a number, so it may come twice.
      if (this._session) this._session.stop();
      if (this._state === CLOSING && link.socket && this._session) {
        clearTimeout(this._timer);
        this._finish(this._session, this._code);
      } else if (this._state === CLOSING || !this._options.reconnect && link.isUp) {
        this._end(1006, message, false);
      } else if (!link.isUp && this._round.length) {
        this._try();
      } else if (!this._options.reconnect || !this._wasOpen && isRefusal(status)) {
        this._end(1006, message, false);
      } else {
        if (link.isUp && Date.now() - link.since > steady) this._failures = 0;
        const delay = this._delay(this._failures);
        this._failures += 1;
        this._state = CONNECTING;
        this._timer = setTimeout(() => this.retry(), delay);
        this.dispatchEvent(new CustomEvent("error", { detail: { message, delay } }));
      }
    }

    /** Ends a link whose session goes on: a WebSocket that only ended would end it, too. @param {Link} link */
    _leaveLine(link) {
      if (this._session && !link.isPlain) this._tell(link, { leave: true });
      link.stop();
    }

    /** @param {number} failures */
    _delay(failures) {
      const { minDelay, maxDelay } = this._options;
      return minDelay + Math.random() * (Math.min(maxDelay, minDelay * 2 ** (failures + 1)) - minDelay);
    }

    /** The session is over. */
    _forget() {
      if (this._session) this._worked = "";
      this._session = null;
    }

    /** @param {number} code @param {string} reason @param {boolean} wasClean */
    _end(code, reason, wasClean) {
      if (this._state === CLOSED) return;
      this._state = CLOSED;
      clearTimeout(this._timer);
      if (this._link) this._link.stop();
      this._link = this._session = null;
      for (const [type, listener] of Object.entries(this._outside)) removeEventListener(type, listener);
      if (code === 1011 && reason.startsWith(failure)) show(this.url, reason.slice(failure.length));
      if (!wasClean) this.dispatchEvent(new CustomEvent("error", { detail: { message: reason, delay: null } }));
      this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
    }

    /** The page is left. @param {boolean} isKept the browser may show it again */
    _leave(isKept) {
      if (this._state >= CLOSING) return;
      const link = this._link, isOnSocket = link && link.socket && link.isUp;
      if (isOnSocket && link && !link.isPlain) this._tell(link, { close: 1001 });
      else if (this._session) navigator.sendBeacon(this._at({ session: this._session.name, close: 1001 }));
      else if (!isKept) return; // browsers close WebSockets themselves
      this._forget();
      if (this._link) this._link.stop();
      this._link = null;
      this._state = CONNECTING;
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this.retry(), this._options.maxDelay);
    }

    // Sending

    /** Lets go what waits, where there is somebody to take it. */
    _flush() {
      const link = this._link, socket = link && link.isUp && link.socket;
      if (socket && link && link.isPlain) {
        while (this._queue.length && socket.readyState === OPEN) socket.send(this._unqueue());
      } else if (socket && link) {
        while (!link.busy && link.sent < this._queue.length && socket.readyState === OPEN) {
          const message = this._queue[link.sent++];
          message.doubt = true;
          const number = this._session ? this._session.said + link.sent : 0;
          if (typeof message.data !== "string") this._tell(link, { from: number });
          socket.send(typeof message.data === "string" ? `${number}=${message.data}` : message.data);
        }
      } else if (this._session && !this._session.saying && this._queue.length && this._state !== CONNECTING) {
        this._session.saying = this._say(this._session);
      }
    }

    _unqueue() {
      const { data, size } = /** @type {Waiting} */ (this._queue.shift());
      this._queued -= size;
      return data;
    }

    /** Sends what waits by requests, one at a time, each until it is known to have arrived. @param {Session} session */
    async _say(session) {
      const timeout = Math.max(this._options.timeout, 10000);
      /** @returns {boolean} */
      const goesOn = () => {
        const isOnSocket = this._link && this._link.isUp && this._link.socket;
        return this._session === session && !!this._queue.length && this._state !== CONNECTING && !isOnSocket;
      };
      for (let failures = 0; goesOn(); ) {
        const number = session.said + 1;
        const message = this._queue[0];
        const { data, size, doubt } = message;
        const headers = new Headers(typeof data === "string" ? [] : [["Content-Type", "application/octet-stream"]]);
        const query = { session: session.name, number };
        message.doubt = true;
        const { status, text, after } = await this._ask("POST", query, timeout + size / 10, { body: data, headers }, session);
        if ([409, 410, 429, 503].includes(status)) message.doubt = doubt;
        // A WebSocket may have taken over meanwhile, and have said that it arrived.
        if (this._session !== session || session.said >= number) continue;
        if (status === 204) {
          session.said += 1;
          failures = 0;
          this._unqueue();
          if (this._link) this._link.sent = Math.max(0, this._link.sent - 1);
        } else if (status === 503 || status === 429) {
          await pause(after);
        } else if (status === 409 || status === 410) {
          this._forget();
          if (this._link) this._down(this._link, text);
          else if (this._state === CLOSING) this._end(1006, text, false);
        } else if (isRefusal(status)) {
          this._ask("POST", { session: session.name, close: "" }, timeout);
          this._end(status === 413 ? 1009 : 1008, text.slice(0, 123), true);
        } else if (++failures < patience) {
          await pause(this._delay(failures));
        } else if (this._link) {
          this._down(this._link, text);
        } else if (this._state === CLOSING) {
          this._end(1006, text, false);
        }
      }
      session.saying = null;
      this._flush();
    }

    /** Says what waits, and that this was all. @param {Session} session @param {number} [code] */
    async _finish(session, code) {
      this._flush();
      await session.saying;
      if (this._state !== CLOSING) return;
      const query = { session: session.name, close: code || "", reason: this._reason };
      const { status, text } = await this._ask("POST", query, this._options.timeout, { keepalive: true });
      if (status === 204) this._end(code || 1005, this._reason, true);
      else this._end(1006, text, false);
    }

    /** The channel's address with these values. @param {{[name: string]: string | number}} query */
    _at(query) {
      const url = new URL(this._url.href);
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
      return url.href;
    }

    /**
     * Asks the server, for so many ms. Status 0: there was no answer, and `text` says why; `after`: ms after which a
     * request that came too early may come again.
     * @param {string} method @param {{[name: string]: string | number}} query @param {number} time
     * @param {RequestInit} [more] @param {{stop: () => void}} [link] the request ends with it
     */
    async _ask(method, query, time, more, link) {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), time);
      if (link) link.stop = () => abort.abort();
      const credentials = this._options.withCredentials ? "include" : "same-origin";
      const request = Object.assign({ method, credentials, cache: "no-store", signal: abort.signal }, more);
      const answer = { status: 0, text: "", json: object(""), after: 1000 };
      try {
        const response = await fetch(this._at(query), /** @type {RequestInit} */ (request));
        answer.text = (await response.text()).trim();
        answer.json = object(answer.text);
        answer.after *= Number(response.headers.get("Retry-After")) || 1;
        answer.status = response.status;
      } catch (problem) {
        answer.text = String(problem);
      }
      clearTimeout(timer);
      return answer;
    }
  }

  for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
    for (const holder of [KennelChannel, KennelChannel.prototype]) Object.defineProperty(holder, name, { value });
  }
  Object.assign(globalThis, { KennelChannel });
})();
