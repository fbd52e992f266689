//! `durum node`: nodes of clusters, from the first one to the removal of one that is lost.

mod args;

use std::fs::File;
use std::io::stdin;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use durum_core::units::format_size;
use durum_core::{Error, IoResultExt as _, Result};
use durum_nodes::{Launcher, NewNode, NodeDir, NodeRow, PARTITIONS, Stopper};
use durum_server::Supervisor;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::context::Context;
use super::failure::{DONE, Failure, Outcome, of_destination};
use super::output;
use super::table::{Side, Table};
pub(crate) use args::NodeArgs;
use args::{
    NewNodeArgs, NodeCommand, NodeExecArgs, NodeInitArgs, NodeInviteArgs, NodeJoinArgs,
    NodeRemoveArgs,
};

pub(crate) fn run(context: &Context, args: &NodeArgs) -> Outcome {
    match &args.what {
        NodeCommand::Init(args) => init(context, args),
        NodeCommand::Invite(args) => invite(context, args),
        NodeCommand::Join(args) => join(context, args),
        NodeCommand::Run(args) => serve(context, &NodeDir::new(&args.dir)?),
        NodeCommand::List(args) => list(context, &NodeDir::new(&args.dir)?),
        NodeCommand::Status(args) => status(context, &NodeDir::new(&args.dir)?),
        NodeCommand::Remove(args) => remove(context, args),
        NodeCommand::Exec(args) => exec(args),
    }
}

impl NewNodeArgs {
    fn node(&self) -> NewNode {
        NewNode {
            host: self.host.clone(),
            zone: self.zone.clone(),
            listen: self.listen,
            port: self.port,
            garage: self.garage.clone(),
            capacity: self.capacity.clone(),
        }
    }
}

fn init(context: &Context, args: &NodeInitArgs) -> Outcome {
    let dir = NodeDir::new(&args.dir)?;
    let id = durum_nodes::init(&dir, args.node.node(), &args.copies).map_err(of_destination)?;
    made(context, &dir, &id)
}

fn join(context: &Context, args: &NodeJoinArgs) -> Outcome {
    let dir = NodeDir::new(&args.dir)?;
    let path = &args.invitation;
    let text = match path.as_os_str() == "-" {
        true => durum_nodes::read_invitation(stdin().lock(), path)?,
        false => {
            let file = File::open(path).during("read an invitation", path)?;
            durum_nodes::read_invitation(file, path)?
        }
    };
    let id = durum_nodes::join(&dir, args.node.node(), &text).map_err(of_destination)?;
    made(context, &dir, &id)
}

fn made(context: &Context, dir: &NodeDir, id: &str) -> Outcome {
    let settings = dir.settings()?;
    let (path, front) = (dir.path(), settings.front());
    let object = json!({ "dir": path, "id": id, "address": front, "zone": settings.zone,
                         "copies": settings.copies });
    context.print(&object, || {
        format!(
            "Made the node {} at {front}, in the zone {}. Run it:\n\n  durum node run {}\n",
            short(id),
            settings.zone,
            path.display()
        )
    })?;
    Ok(DONE)
}

fn invite(context: &Context, args: &NodeInviteArgs) -> Outcome {
    let dir = NodeDir::new(&args.dir)?;
    if let (Some(name), Some(to)) = (&args.client, &args.output) {
        durum_nodes::invite_client(&dir, name, to).map_err(of_destination)?;
        let url = format!("garage:{}", to.display());
        let object = json!({ "client": name, "dir": to, "url": url });
        context.print(&object, || {
            format!("Made the client `{name}`. Whoever has this directory reaches the clusters as {url}\n")
        })?;
        return Ok(DONE);
    }
    let invitation = durum_nodes::invite(&dir)?;
    let Some(path) = &args.output else {
        context.print(&json!({ "invitation": invitation }), || invitation.clone())?;
        return Ok(DONE);
    };
    write_secret(path, &invitation).map_err(of_destination)?;
    context.print(&json!({ "file": path }), || {
        format!(
            "Wrote the invitation {}. On the new machine:\n\n  durum node join DIR {} --host HOST\n",
            path.display(),
            path.display()
        )
    })?;
    Ok(DONE)
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let write = || {
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().during("write an invitation", path)
}

fn serve(context: &Context, dir: &NodeDir) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Error::io(error, "run a node"))?;
    let launcher = Launcher {
        command: vec![program.into(), "node".into(), "exec".into()],
    };
    let stopper = Stopper::default();
    heed_signals(&stopper)?;
    let mut printed: Result<(), Failure> = Ok(());
    let supervisor = Supervisor::from_env();
    durum_nodes::run(dir, &launcher, supervisor.as_ref(), &stopper, |ready| {
        let copies: Vec<String> = ready.copies.iter().map(u32::to_string).collect();
        let object = json!({ "id": ready.id, "address": ready.front, "copies": ready.copies });
        printed = context.print(&object, || {
            let (id, copies) = (short(&ready.id), copies.join(" and "));
            format!(
                "The node {id} answers at {}, for {copies} copies.\n",
                ready.front
            )
        });
        if printed.is_err() {
            stopper.stop();
        }
    })?;
    printed?;
    Ok(DONE)
}

/// The first signal has the node finish what it has begun; the second ends the process at once, and Garage with it.
fn heed_signals(stopper: &Stopper) -> Result<()> {
    let stopper = stopper.clone();
    let listen = || {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let thread = std::thread::Builder::new().name("durum-signals".to_owned());
        thread.spawn(move || {
            let mut again = false;
            for signal in signals.forever() {
                if again {
                    // It does not come back from that.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                again = true;
                stopper.stop();
            }
        })
    };
    listen().map_err(|error| Error::io(error, "listen to signals"))?;
    Ok(())
}

fn list(context: &Context, dir: &NodeDir) -> Outcome {
    let nodes = durum_nodes::list(dir)?;
    context.print(&json!({ "nodes": nodes }), || {
        let mut table = Table::new(&[
            ("node", Side::Left),
            ("address", Side::Left),
            ("zone", Side::Left),
            ("state", Side::Left),
            ("share", Side::Left),
        ]);
        for node in &nodes {
            table.row([
                short(&node.id).to_owned(),
                node.address.clone().unwrap_or_else(|| "-".to_owned()),
                node.zone.clone().unwrap_or_else(|| "-".to_owned()),
                state(node),
                shares(node),
            ]);
        }
        table.render("")
    })?;
    Ok(DONE)
}

fn state(node: &NodeRow) -> String {
    match (node.up, node.down_seconds) {
        (true, _) => "up".to_owned(),
        (false, None) => "down".to_owned(),
        (false, Some(seconds)) => {
            let time = std::time::Duration::from_secs(seconds);
            format!("down for {}", output::duration(time))
        }
    }
}

fn shares(node: &NodeRow) -> String {
    let share = |share: &durum_nodes::Share| {
        let what = match (share.partitions, share.capacity) {
            _ if share.draining => "gives its data away".to_owned(),
            (Some(partitions), Some(capacity)) => {
                format!("{partitions}/{PARTITIONS} of {}", format_size(capacity))
            }
            _ => "no role yet".to_owned(),
        };
        format!("{} copies: {what}", share.copies)
    };
    let shares: Vec<String> = node.clusters.iter().map(share).collect();
    shares.join("; ")
}

fn status(context: &Context, dir: &NodeDir) -> Outcome {
    let clusters = durum_nodes::status(dir)?;
    context.print(&json!({ "id": dir.id()?, "clusters": clusters }), || {
        let mut table = Table::new(&[
            ("copies", Side::Right),
            ("health", Side::Left),
            ("nodes up", Side::Right),
            ("writable", Side::Right),
            ("complete", Side::Right),
            ("", Side::Left),
        ]);
        for it in &clusters {
            let note = match (it.nodes_missing, it.moving) {
                (0, false) if !it.serves => "begins to serve".to_owned(),
                (0, false) => String::new(),
                (0, true) => "data are being moved or compared".to_owned(),
                (missing, _) => format!("waits for {}", output::count(missing, "more node")),
            };
            table.row([
                it.copies.to_string(),
                it.health.clone(),
                format!("{}/{}", it.nodes_up, it.nodes),
                format!("{}/{PARTITIONS}", it.partitions_writable),
                format!("{}/{PARTITIONS}", it.partitions_complete),
                note,
            ]);
        }
        table.render("")
    })?;
    Ok(DONE)
}

fn remove(context: &Context, args: &NodeRemoveArgs) -> Outcome {
    let dir = NodeDir::new(&args.dir)?;
    let removed = durum_nodes::remove(&dir, &args.node, args.wait)?;
    context.print(&json!(removed), || {
        let id = short(&removed.id);
        match removed.complete {
            true => format!("The node {id} is removed, and all its copies are elsewhere.\n"),
            false => format!(
                "The node {id} is being removed; `durum node status` shows when nothing is moved any more.\n"
            ),
        }
    })?;
    Ok(DONE)
}

fn exec(args: &NodeExecArgs) -> Outcome {
    Err(durum_nodes::become_program(args.parent, &args.program, &args.arguments).into())
}

/// What people need of a node's number.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
