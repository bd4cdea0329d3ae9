use std::time::{Duration, Instant};
use tests::client::get;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, Signal};
use tests::site::Site;
use tests::wait;

const LIMITS: &str = "[limits]\nscript_time = \"1s\"\n";

const APP: Scripts<'_> = Scripts {
    lua: r#"
local ffi = require "ffi"
ffi.cdef [[
int usleep(unsigned int); int fork(void); void _exit(int);
long write(int, const void *, unsigned long);
]]
app:get("/fine", function() return "fine" end)
app:get("/block", function()
  io.open("blocking", "w"):close()
  ffi.C.usleep(700000)
  return "unblocked"
end)
app:get("/fork", function()
  local pid = ffi.C.fork()
  if pid == 0 then
    for _ = 1, 300 do ffi.C.usleep(100000) end
    ffi.C._exit(0)
  end
  return tostring(pid)
end)
app:get("/stray", function()
  local fd = tonumber(os.getenv("KENNEL_WORKER"):match("^%d+"))
  ffi.C.write(fd, ffi.new("unsigned int[2]", 200 * 1024 * 1024, 1), 8)
  return "swallowed"
end)
"#,
    python: r#"
    import ctypes, os, stat, struct, threading, time
    @app.get("/fine")
    def fine(req): return "fine"
    @app.get("/block")
    def block(req):
        open("blocking", "w").close()
        time.sleep(0.7)
        return "unblocked"
    @app.get("/fork")
    def fork(req):
        libc = ctypes.PyDLL(None)
        pid = libc.fork()
        if pid == 0:
            libc.sleep(30)
            libc._exit(0)
        return str(pid)
    @app.get("/stray")
    def stray(req):
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, struct.pack("<II", 200 << 20, 1))
                    break
            except OSError:
                pass
        return "swallowed"
    @app.get("/hold")
    def hold(req):
        def take():
            open("held", "w").close()
            ctypes.PyDLL(None).sleep(30)
        threading.Timer(0.2, take).start()
        return "soon"
    "#,
};

fn site(language: Language, workers: u32) -> Site {
    language.plan(APP).config(LIMITS).behind_warm().workers(workers).start()
}

/// The time until a request has its answer; a new worker has to start and load for it.
fn is_served_soon(site: &Site) {
    let begin = Instant::now();
    assert_eq!(site.get("/fine").text(), "fine");
    // `script_time`, one second more, and the start of a process on a busy machine.
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

in_each_language!(a_stopped_worker_is_replaced_and_its_request_answered_by_another);
fn a_stopped_worker_is_replaced_and_its_request_answered_by_another(language: Language) {
    let site = site(language, 1);
    assert_eq!(site.get("/fine").text(), "fine");
    let worker = site.workers()[0];
    process::signal(worker, Signal::STOP);
    is_served_soon(&site);
    site.log().expect("a worker began nothing of what it was given for 1s");
    assert!(!site.workers().contains(&worker));
}

#[test]
fn a_thread_that_holds_the_interpreter_costs_its_worker_and_no_request() {
    let site = site(Language::Python, 1);
    assert_eq!(site.get("/hold").text(), "soon");
    wait::until("a thread holds the interpreter", || site.folder().path().join("held").exists());
    is_served_soon(&site);
    site.log().expect("a worker began nothing of what it was given for 1s");
}

in_each_language!(a_dead_worker_is_noticed_though_a_process_of_its_own_keeps_its_socket);
fn a_dead_worker_is_noticed_though_a_process_of_its_own_keeps_its_socket(language: Language) {
    let site = site(language, 1);
    let child: u32 = site.get("/fork").text().parse().expect("the id of a process");
    process::kill(site.workers()[0]);
    site.log().expect("a worker died");
    is_served_soon(&site);
    assert!(process::is_alive(child), "it had the socket all the time");
    process::kill(child);
}

in_each_language!(a_worker_that_is_out_of_step_is_replaced);
fn a_worker_that_is_out_of_step_is_replaced(language: Language) {
    let site = site(language, 1);
    let begin = Instant::now();
    assert_eq!(site.get("/stray").status, 502);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    site.log().expect("a worker announced a batch that did not come within 1s");
    is_served_soon(&site);
}

in_each_language!(a_hub_that_was_stopped_and_goes_on_kills_no_worker);
fn a_hub_that_was_stopped_and_goes_on_kills_no_worker(language: Language) {
    let site = site(language, 1);
    let workers = site.workers();
    let mut client = site.client();
    client.send(get("/block"));
    wait::until("the request runs", || site.folder().path().join("blocking").exists());
    // As a laptop that sleeps: all of them stand still for longer than a script may run.
    process::signal(workers[0], Signal::STOP);
    site.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1500));
    site.signal(Signal::CONT);
    process::signal(workers[0], Signal::CONT);
    assert_eq!(client.read().text(), "unblocked");
    assert_eq!(site.workers(), workers);
    assert_eq!(client.get("/fine").text(), "fine");
}
