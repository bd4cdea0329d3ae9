//! `kennel ctl`: a running Mongrel2, asked at its control port.

use crate::args::{Ctl as Args, CtlRequest, CtlStatus};
use crate::exit::{Coded, note, unreachable, wrong_input};
use crate::table;
use mongrel2_conf::control::{Cell, ConnectionKind, Control, ControlError, Refusal, Request, Table, What};
use mongrel2_conf::deployed::{Deployment, Process, Selection};
use mongrel2_conf::model::Server;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = request(args.request);
    let mut out = std::io::stdout().lock();
    if let Some(address) = &args.address {
        let control = Control::new(address.parse().map_err(wrong_input)?);
        let answer = control.ask(&request).map_err(|problem| told(&problem, request))?;
        show(&mut out, request, &answer, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let deployment = args.servers.open()?;
    let servers = args.servers.select(&deployment, Selection::Only)?;
    if !args.servers.every {
        for server in servers {
            let answer = ask(&deployment, server, request)?;
            show(&mut out, request, &answer, args.json)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // All of them: one that does not answer hides nothing of the others.
    let mut list = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for server in servers {
        let answer = ask(&deployment, server, request);
        if let Err(problem) = &answer {
            let coded = problem.downcast_ref::<Coded>();
            code = coded.map_or(ExitCode::FAILURE, |coded| ExitCode::from(coded.code()));
        }
        if args.json {
            let mut entry = json!({ "name": server.name, "uuid": server.uuid });
            match answer {
                Ok(table) => entry["answer"] = as_json(request, &table),
                Err(problem) => entry["error"] = problem.to_string().into(),
            }
            list.push(entry);
            continue;
        }
        writeln!(out, "{}:", server.label())?;
        match answer {
            Ok(table) => show(&mut out, request, &table, false)?,
            Err(problem) => note!("error: {}: {problem}", server.label()),
        }
    }
    if args.json {
        table::print_json(&mut out, &list.into())?;
    }
    Ok(code)
}

fn request(typed: CtlRequest) -> Request {
    match typed {
        CtlRequest::Status { what: CtlStatus::Tasks } => Request::Status(What::Tasks),
        CtlRequest::Status { what: CtlStatus::Net } => Request::Status(What::Net),
        CtlRequest::Info => Request::Info,
        CtlRequest::Time => Request::Time,
        CtlRequest::Uuid => Request::Uuid,
        CtlRequest::Kill { id } => Request::Kill(id),
        CtlRequest::Stop => Request::Stop,
        CtlRequest::Reload => Request::Reload,
        CtlRequest::Terminate => Request::Terminate,
        CtlRequest::ControlStop => Request::ControlStop,
        CtlRequest::Help => Request::Help,
    }
}

fn ask(deployment: &Deployment, server: &Server, request: Request) -> anyhow::Result<Table> {
    let control = Control::new(deployment.control_port(server).map_err(wrong_input)?);
    // Servers of one folder have one control port unless each is given its own: the last that started has it.
    let answer = control.uuid().and_then(|uuid| match uuid == server.uuid {
        true => control.ask(&request).map(Ok),
        false => Ok(Err(uuid)),
    });
    let answer = answer.map_err(|problem| {
        let why = match (&problem, deployment.process(server)) {
            (ControlError::Refused { .. }, _) => return told(&problem, request),
            (_, Process::Running { pid, .. }) => format!(
                "server `{}` runs as process {pid}; is its control port stopped, or its working directory another \
                 (--workdir)?",
                server.label()
            ),
            (_, Process::Absent { pid_file } | Process::Stale { pid_file, .. }) => {
                format!("server `{}` does not run, says {}", server.label(), pid_file.display())
            }
            (_, Process::Unreadable { pid_file, .. }) => {
                format!("its pid file {} cannot be read", pid_file.display())
            }
        };
        unreachable(format!("{problem}\n  {why}"))
    })?;
    answer.map_err(|uuid| {
        unreachable(format!(
            "the control port of server `{}`, {}, is answered by the server with uuid `{uuid}`; give each its own \
             control_port",
            server.label(),
            control.address()
        ))
    })
}

/// The error as a person reads it: what Mongrel2 refuses is a failure, all else is that nobody answers.
fn told(problem: &ControlError, request: Request) -> anyhow::Error {
    match (problem, request) {
        (ControlError::Refused { refusal: Some(Refusal::InvalidArgument), .. }, Request::Kill(id)) => {
            anyhow::anyhow!(
                "mongrel2 ends no connection {id}: there is none, or its id is beyond 65535; see `kennel ctl status net`"
            )
        }
        (ControlError::Refused { .. }, _) => anyhow::anyhow!("{problem}"),
        _ => unreachable(problem),
    }
}

fn show(out: &mut impl Write, request: Request, answer: &Table, json: bool) -> anyhow::Result<()> {
    if json {
        return table::print_json(out, &as_json(request, answer));
    }
    match request {
        Request::Status(_) | Request::Help => {
            let rows: Vec<Vec<String>> = answer
                .rows
                .iter()
                .map(|row| {
                    answer.headers.iter().zip(row).map(|(name, cell)| text(request, name, cell)).collect()
                })
                .collect();
            out.write_all(table::table(&answer.headers, &rows).as_bytes())?;
        }
        Request::Info => {
            let cells = || answer.rows.iter().flat_map(|row| answer.headers.iter().zip(row));
            let width = cells().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, cell) in cells() {
                writeln!(out, "{}", format!("{name:width$}  {}", text(request, name, cell)).trim_end())?;
            }
        }
        Request::Terminate if answer.rows.is_empty() => writeln!(out, "the server has ended")?,
        _ => {
            for (name, cell) in answer.rows.iter().flat_map(|row| answer.headers.iter().zip(row)) {
                writeln!(out, "{}", text(request, name, cell))?;
            }
        }
    }
    Ok(())
}

fn text(request: Request, column: &str, cell: &Cell) -> String {
    match (request, column, cell) {
        (Request::Status(What::Net), "type", Cell::Int(number)) => match ConnectionKind::from_number(*number)
        {
            ConnectionKind::New => "new".into(),
            ConnectionKind::Http => "http".into(),
            ConnectionKind::Message => "message".into(),
            ConnectionKind::WebSocket => "websocket".into(),
            ConnectionKind::Other(number) => number.to_string(),
        },
        (Request::Status(What::Net), "id", Cell::Int(-1)) => "-".into(),
        (_, _, Cell::Text(text)) => table::visible(text),
        (_, _, Cell::Int(number)) => number.to_string(),
        (_, _, Cell::Float(number)) => number.to_string(),
        (_, _, Cell::Bool(yes)) => (if *yes { "yes" } else { "no" }).into(),
        (_, _, Cell::Null) => "-".into(),
    }
}

/// Listings are arrays of objects, what is one thing is one object; cells are as Mongrel2 has them.
fn as_json(request: Request, answer: &Table) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => text.as_str().into(),
        Cell::Int(number) => (*number).into(),
        Cell::Float(number) => (*number).into(),
        Cell::Bool(yes) => (*yes).into(),
        Cell::Null => Value::Null,
    };
    let object = |row: &Vec<Cell>| -> Map<String, Value> {
        answer.headers.iter().zip(row).map(|(name, cell)| (name.clone(), value(cell))).collect()
    };
    let mut rows: Vec<Value> = answer.rows.iter().map(|row| object(row).into()).collect();
    match request {
        Request::Status(_) | Request::Help => rows.into(),
        _ => rows.pop().unwrap_or_else(|| json!({})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[&str], row: Vec<Cell>) -> Table {
        Table { headers: headers.iter().map(|name| (*name).to_owned()).collect(), rows: vec![row] }
    }

    fn shown(request: Request, answer: &Table, json: bool) -> String {
        let mut out = Vec::new();
        show(&mut out, request, answer, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kinds_of_connections_have_names_and_unknown_columns_are_shown() {
        let mut net = answer(&["id", "type", "new"], vec![Cell::Int(-1), Cell::Int(3), Cell::Bool(true)]);
        net.rows.push(vec![Cell::Int(12), Cell::Int(1), Cell::Bool(false)]);
        let request = Request::Status(What::Net);
        assert_eq!(
            shown(request, &net, false),
            "ID  TYPE       NEW\n -  websocket  yes\n12  http       no\n"
        );
        let json: Value = serde_json::from_str(&shown(request, &net, true)).unwrap();
        assert_eq!(
            json,
            json!([{ "id": -1, "type": 3, "new": true }, { "id": 12, "type": 1, "new": false }])
        );
    }

    #[test]
    fn one_thing_is_one_object_and_a_line() {
        let time = answer(&["time"], vec![Cell::Text("1795290051".into())]);
        assert_eq!(shown(Request::Time, &time, false), "1795290051\n");
        let json: Value = serde_json::from_str(&shown(Request::Time, &time, true)).unwrap();
        assert_eq!(json, json!({ "time": "1795290051" }));
        assert_eq!(shown(Request::Terminate, &Table::default(), true), "{}\n");
    }

    #[test]
    fn a_lying_port_cannot_command_the_terminal() {
        let info = answer(&["uuid"], vec![Cell::Text("\u{1b}[2J".into())]);
        assert_eq!(shown(Request::Info, &info, false), "uuid  \\u{1b}[2J\n");
    }
}
