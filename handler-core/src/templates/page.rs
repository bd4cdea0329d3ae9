//! What templates see of the request: `request`, `session`, `csrf_token()` and `csrf_field()`.
//!
//! The values belong to a language that stays in one thread, and templates' values may not. So the page at hand is known
//! to the thread, for as long as it is made, and what templates hold only asks for it.

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What belongs to the request that a page is made for. Nothing is asked that the template does not name.
pub trait Page {
    /// A field of the request: `method`, `path`, `host` and so on; nothing, if it has none of the name.
    fn field(&self, name: &str) -> Option<Value>;

    /// A value by its name: of the request's `args`, `headers`, `cookies` or `params`.
    fn named(&self, view: &str, name: &str) -> Option<Value>;

    /// The values of the session, a map.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    fn session(&self) -> Result<Value, String>;

    /// A token for a form.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    fn csrf_token(&self) -> Result<String, String>;
}

thread_local! {
    static PAGE: RefCell<Option<Rc<dyn Page>>> = const { RefCell::new(None) };
}

/// Runs `make` for this page. One page may be made while another is.
pub(super) fn with<T>(page: Option<Rc<dyn Page>>, make: impl FnOnce() -> T) -> T {
    struct Restore(Option<Rc<dyn Page>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PAGE.set(self.0.take());
        }
    }
    let _restore = Restore(PAGE.replace(page));
    make()
}

fn page(what: &str) -> Result<Rc<dyn Page>, Error> {
    PAGE.with_borrow(Clone::clone).ok_or_else(|| {
        let problem = format!("{what} needs the request: give it to kennel.render as the option `request`");
        Error::new(ErrorKind::InvalidOperation, problem)
    })
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

pub(super) fn add_globals(environment: &mut Environment<'static>) {
    environment.add_global("request", Value::from_object(RequestView));
    environment.add_global("session", Value::from_object(SessionView));
    let token = || page("csrf_token()")?.csrf_token().map_err(invalid);
    environment.add_function("csrf_token", token);
    let field = || -> Result<Value, Error> {
        let token = page("csrf_field()")?.csrf_token().map_err(invalid)?;
        let name = crate::sessions::csrf::FIELD;
        // A token is base64.
        Ok(Value::from_safe_string(format!(r#"<input type="hidden" name="{name}" value="{token}">"#)))
    };
    environment.add_function("csrf_field", field);
}

/// `request`.
#[derive(Debug)]
struct RequestView;

impl Object for RequestView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let view = match key.as_str()? {
            "args" => "args",
            "headers" => "headers",
            "cookies" => "cookies",
            "params" => "params",
            name => {
                return page("request").map_or_else(|problem| Some(problem.into()), |page| page.field(name));
            }
        };
        Some(Value::from_object(NamedView(view)))
    }
}

/// `request.args` and the like.
#[derive(Debug)]
struct NamedView(&'static str);

impl Object for NamedView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match page("request") {
            Ok(page) => page.named(self.0, key.as_str()?),
            Err(problem) => Some(problem.into()),
        }
    }
}

/// `session`.
#[derive(Debug)]
struct SessionView;

impl SessionView {
    fn values() -> Result<Value, Error> {
        page("session")?.session().map_err(invalid)
    }
}

impl Object for SessionView {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match Self::values().and_then(|values| values.get_item(key)) {
            Ok(value) => (!value.is_undefined()).then_some(value),
            Err(problem) => Some(problem.into()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = Self::values().and_then(|values| Ok(values.try_iter()?.collect()));
        keys.map_or(Enumerator::NonEnumerable, Enumerator::Values)
    }
}
