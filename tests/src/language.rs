//! The languages in which apps are written: what Kennel promises, it promises in each of them.
//!
//! A test for all of them is a function of a [`Language`], and [`in_each_language!`](crate::in_each_language) before
//! it makes it one test for each: `name::lua` and `name::python`.

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `app.lua`.
    Lua,
    /// `app.py`.
    Python,
}

/// The same script in each language: what stands between the making of the app and its end.
#[derive(Debug, Clone, Copy)]
pub struct Scripts<'a> {
    /// Between `local app = kennel.app()`, which is line 1, and `return app`.
    pub lua: &'a str,
    /// Behind `app = kennel.App()`, which is line 1. It may be indented as a whole.
    pub python: &'a str,
}

impl Language {
    /// One of two, as this language needs it.
    pub fn pick<T>(self, lua: T, python: T) -> T {
        match self {
            Self::Lua => lua,
            Self::Python => python,
        }
    }

    /// A file's name with this language's ending.
    pub fn file(self, stem: &str) -> String {
        format!("{stem}.{}", self.pick("lua", "py"))
    }

    /// The name of the file that a site serves.
    pub fn app(self) -> &'static str {
        self.pick("app.lua", "app.py")
    }

    /// How a line of the app is named in the log.
    pub fn place(self, lua: u32, python: u32) -> String {
        format!("{}:{}", self.app(), self.pick(lua, python))
    }

    /// What the log says of `error(text)`, or `raise RuntimeError(text)`, in a line of the app.
    pub fn raised(self, lua: u32, python: u32, text: &str) -> String {
        format!("{}: {}{text}", self.place(lua, python), self.pick("", "RuntimeError: "))
    }

    /// A whole script around a body: `kennel` and `app` are there. The first line of `body` is line 2.
    pub fn script(self, body: &str) -> String {
        match self {
            Self::Lua => {
                format!("local kennel = require \"kennel\"; local app = kennel.app()\n{body}\nreturn app\n")
            }
            Self::Python => format!("import kennel; app = kennel.App()\n{}\n", dedent(body)),
        }
    }

    /// The body that is in this language, made a [whole script](Self::script).
    pub fn script_of(self, scripts: Scripts<'_>) -> String {
        self.script(scripts.body(self))
    }
}

impl<'a> Scripts<'a> {
    /// The one in this language.
    pub fn body(self, language: Language) -> &'a str {
        language.pick(self.lua, self.python)
    }
}

/// Takes away the blanks that all lines begin with.
fn dedent(text: &str) -> String {
    let depth = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let common = text.lines().filter(|line| !line.trim().is_empty()).map(|line| depth(&line)).min();
    let lines: Vec<&str> = text.lines().map(|line| line.get(common.unwrap_or(0)..).unwrap_or("")).collect();
    lines.join("\n")
}

/// Makes a function of a [`Language`] one test for each language.
#[macro_export]
macro_rules! in_each_language {
    ($test:ident) => {
        mod $test {
            use $crate::language::Language;

            #[test]
            fn lua() {
                super::$test(Language::Lua);
            }

            #[test]
            fn python() {
                super::$test(Language::Python);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_begins_on_line_2_and_loses_its_common_indentation() {
        let body = "\n    def f():\n\n        pass\n    ";
        let script = Language::Python.script(body);
        assert_eq!(script.lines().collect::<Vec<_>>()[1..5], ["", "def f():", "", "    pass"]);
        assert_eq!(Language::Python.script("x = 1").lines().nth(1), Some("x = 1"));
        assert_eq!(Language::Lua.script("local x").lines().nth(1), Some("local x"));
    }
}
