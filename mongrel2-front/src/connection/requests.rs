//! Requests: where they go, and how their bodies travel.

use super::Step;
use super::state::{Connection, State};
use super::tasks::{Inline, Phase, Route, Socket, Stream, Upload};
use super::upload::CONTINUE;
use crate::body::Decoder;
use crate::context::Context;
use crate::effect::Effect;
use crate::files;
use crate::frames::Frames;
use crate::head::{Framing, Head, Refusal, Rules, Search, find_end, framing};
use crate::message;
use crate::site::{Goal, Reached};
use base64::prelude::*;
use sha1::{Digest, Sha1};
use std::time::Instant;

/// What a handler may have under way on a connection with flow control, bytes. Mongrel2's number.
const CREDITS: &[u8] = b"102400";
/// What is hashed behind the key of a handshake (RFC 6455, 1.3).
const WEBSOCKET: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Connection {
    /// Takes a head, and its body if it is there.
    pub(super) fn take_head(&mut self, cx: &mut Context, input: &[u8], now: Instant) -> Step {
        let limits = cx.site.limits();
        let most = limits.head;
        let end = match find_end(input, self.searched) {
            Search::Ends(end) if end <= most => end,
            Search::Goes(end) if end <= most => {
                self.searched = end;
                return Step::Waits;
            }
            Search::Bad => return self.refuse_head(cx, Refusal(400), now),
            Search::Ends(_) | Search::Goes(_) => return self.refuse_head(cx, Refusal(431), now),
        };
        let rules = Rules { header_count: limits.header_count, relaxed: limits.relaxed };
        let head = match Head::parse(&input[..end], rules) {
            Ok(head) => head,
            Err(refusal) => return self.refuse_head(cx, refusal, now),
        };
        self.says_last = !head.keeps_alive();
        match self.dispatch(cx, head, &input[end..], now) {
            Ok(Some(used)) => {
                self.searched = 0;
                Step::Used(end + used)
            }
            Ok(None) => {
                self.searched = 0;
                self.is_held = true;
                Step::Waits
            }
            Err(refusal) => self.refuse_head(cx, refusal, now),
        }
    }

    fn refuse_head(&mut self, cx: &mut Context, refusal: Refusal, now: Instant) -> Step {
        self.refuse(cx, refusal.0, now);
        Step::Waits
    }

    /// Sends a request on its way: how many bytes of its body were used. `None`: its handler has no room now.
    fn dispatch(
        &mut self,
        cx: &mut Context,
        head: Head,
        rest: &[u8],
        now: Instant,
    ) -> Result<Option<usize>, Refusal> {
        let framing = framing(&head)?;
        let expects = match head.value(b"expect") {
            None => false,
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
            Some(_) => return Err(Refusal(417)),
        };
        let reached = cx.site.reach(head.host(), head.path()).ok_or(Refusal(404))?;
        let Some(route) = Route::of(&reached) else {
            // One file at a time: each that waits to be written is open.
            if !self.output.is_empty() {
                return Ok(None);
            }
            return self.ask_file(cx, head, &reached, framing).map(|()| Some(0));
        };
        if cx.is_congested(route.handler) {
            return Ok(None);
        }
        self.is_socket = false;
        self.was_last = !head.keeps_alive();
        let expects = expects && head.is_http_11() && framing != Framing::Length(0) && rest.is_empty();
        let limits = cx.site.limits();
        match framing {
            Framing::Length(0) if head.is_websocket() => {
                self.shake_hands(cx, head, route);
                Ok(Some(0))
            }
            Framing::Length(length) if length <= limits.content_length as u64 => {
                let inline = Inline { head, route, length: length as usize };
                if rest.len() >= inline.length {
                    self.send_request(cx, &inline, &rest[..inline.length]);
                    return Ok(Some(inline.length));
                }
                self.state = State::Inline(Box::new(inline));
                if expects {
                    self.push(cx, CONTINUE, now);
                }
                Ok(Some(0))
            }
            framing if limits.stream => {
                let used = self.begin_stream(cx, head, route, Decoder::new(framing), rest)?;
                if expects {
                    self.push(cx, CONTINUE, now);
                }
                Ok(Some(used))
            }
            framing if limits.temp_store.is_some() => {
                let (decoder, phase) = (Decoder::new(framing), Phase::Creating);
                self.state = State::Upload(Box::new(Upload { head, route, decoder, phase, expects }));
                cx.effects.push_back(Effect::CreateUpload(self.key));
                Ok(Some(0))
            }
            _ => Err(Refusal(413)),
        }
    }

    /// Takes a body that travels inside its message, once it is whole.
    pub(super) fn take_inline(&mut self, cx: &mut Context, input: &[u8], _now: Instant) -> Step {
        let State::Inline(inline) = &self.state else { return Step::Waits };
        let length = inline.length;
        let Some(body) = input.get(..length) else { return Step::Waits };
        if let State::Inline(inline) = std::mem::replace(&mut self.state, State::Between) {
            self.send_request(cx, &inline, body);
        }
        Step::Used(length)
    }

    fn send_request(&mut self, cx: &mut Context, inline: &Inline, body: &[u8]) {
        let Inline { head, route, .. } = inline;
        self.progress.asked(head.method());
        self.send_head(cx, head, route, head.method(), None, body);
        self.log(cx, head, 200, body.len() as u64);
    }

    /// Sends the message of a head. The first one of a connection says what the handler may send.
    fn send_head(
        &mut self,
        cx: &mut Context,
        head: &Head,
        route: &Route,
        method: &[u8],
        more: Option<&[(&[u8], &[u8])]>,
        body: &[u8],
    ) {
        let id = self.known_id(cx, route.handler);
        let is_first = cx.site.limits().flow_control && !std::mem::replace(&mut self.has_credits, true);
        let credits: [(&[u8], &[u8]); 1] = [(b"DOWNLOAD_CREDITS", CREDITS)];
        let more = [more.unwrap_or_default(), if is_first { &credits } else { &[] }].concat();
        let peer = &self.peer;
        cx.send(route.handler, id, |to, site| {
            to.request(&route.about(peer, site, method, &more), head, body)
        });
    }

    /// Sends the beginning of a streamed body: how many bytes of `rest` it had.
    fn begin_stream(
        &mut self,
        cx: &mut Context,
        head: Head,
        route: Route,
        mut decoder: Decoder,
        rest: &[u8],
    ) -> Result<usize, Refusal> {
        // The first message of a chunked body has none of it.
        let most = match decoder {
            Decoder::Length(_) => cx.site.limits().content_length,
            Decoder::Chunked(_) => 0,
        };
        let step = if most == 0 { Default::default() } else { decoder.step(rest, most)? };
        let more: [(&[u8], &[u8]); 2] = [(b"UPLOAD_STREAM", b"0"), (b"UPLOAD_STREAM_DONE", b"1")];
        self.progress.asked(head.method());
        self.send_head(
            cx,
            &head,
            &route,
            head.method(),
            Some(&more[..1 + usize::from(step.is_last)]),
            step.data,
        );
        self.log(cx, &head, 200, 0);
        if !step.is_last {
            let (path, offset) = (head.path().into(), step.data.len() as u64);
            self.state = State::Stream(Box::new(Stream { decoder, route, path, offset, credits: 0 }));
        }
        Ok(step.used)
    }

    fn shake_hands(&mut self, cx: &mut Context, head: Head, route: Route) {
        let mut hash = Sha1::new();
        hash.update(head.value(b"sec-websocket-key").unwrap_or_default());
        hash.update(WEBSOCKET);
        let accept = BASE64_STANDARD.encode(hash.finalize());
        self.send_head(cx, &head, &route, b"WEBSOCKET_HANDSHAKE", None, accept.as_bytes());
        self.log(cx, &head, 200, 0);
        self.state = State::Frames(Box::new(Socket { head, route, frames: Frames::default() }));
    }

    /// Looks for a file. Folders take no bodies.
    fn ask_file(
        &mut self,
        cx: &mut Context,
        head: Head,
        reached: &Reached,
        framing: Framing,
    ) -> Result<(), Refusal> {
        let Goal::Dir(dir) = reached.goal else { return Ok(()) };
        if framing != Framing::Length(0) {
            return Err(Refusal(405));
        }
        let request = files::Request {
            dir,
            method: head.method().to_vec(),
            path: head.path().to_vec(),
            prefix: reached.prefix,
            headers: message::header_block(&head),
            is_http_11: head.is_http_11(),
            keeps_alive: head.keeps_alive(),
        };
        cx.effects.push_back(Effect::File(self.key, request));
        self.state = State::File(cx.site.limits().logs_access.then(|| Box::new(head)));
        Ok(())
    }
}
