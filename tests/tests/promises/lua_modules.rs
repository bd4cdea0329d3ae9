use std::process::Command;
use tests::command;
use tests::folder::Folder;
use tests::site::Site;

/// Native modules as Debian packs them, each used for what it is for.
#[test]
fn native_modules_of_debian_load_and_work() {
    let site = Site::plan(
        r#"
        local cjson, lpeg, socket = require "cjson", require "lpeg", require "socket"
        local sqlite = require("luasql.sqlite3").sqlite3()
        app:get("/cjson", function() return cjson.encode({ 1, cjson.null, "x" }) end)
        app:get("/lpeg", function() return tostring(lpeg.match(lpeg.R("09") ^ 1, "123abc")) end)
        app:get("/socket", function() return socket.dns.toip("127.0.0.1") end)
        app:get("/sqlite", function()
          local db = assert(sqlite:connect(":memory:"))
          assert(db:execute("create table t (name text)"))
          assert(db:execute("insert into t values ('a row')"))
          return (db:execute("select name from t"):fetch())
        end)
        "#,
    )
    .start();
    for (path, expected) in
        [("/cjson", "[1,null,\"x\"]"), ("/lpeg", "4"), ("/socket", "127.0.0.1"), ("/sqlite", "a row")]
    {
        assert_eq!(site.get(path).text(), expected, "{path}");
    }
}

const MODULE: &str = r#"
typedef struct lua_State lua_State;
void lua_pushstring(lua_State *, const char *);
int lua_gettop(lua_State *);
int luaopen_hi(lua_State *L) { lua_pushstring(L, lua_gettop(L) == 1 ? "hi" : "?"); return 1; }
"#;

/// Compiles a native module of four lines into `at`.
fn compile(folder: &Folder, at: &str) {
    let source = folder.write("hi.c", MODULE);
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join(at)).arg(source);
    let finished = command::finish(cc, b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// Luarocks' folders are beside the script and in the home folder; the script's own folder goes first.
#[test]
fn modules_are_found_where_luarocks_puts_them() {
    let home = Folder::new();
    home.write(".luarocks/share/lua/5.1/mine.lua", "return 'mine'");
    home.write(".luarocks/share/lua/5.1/tree.lua", "return 'not this one'");
    let plan = Site::plan(
        r#"
        app:get("/", function() return table.concat({ require "hi", require "tree", require "mine" }, " ") end)
        "#,
    )
    .variable("HOME", home.path())
    .file("lua_modules/share/lua/5.1/tree/init.lua", "return 'tree'")
    .file("lua_modules/lib/lua/5.1/empty", "");
    compile(plan.folder(), "lua_modules/lib/lua/5.1/hi.so");
    assert_eq!(plan.start().get("/").text(), "hi tree mine");
}
