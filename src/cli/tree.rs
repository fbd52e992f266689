//! `durum tree`.

use durum_core::{Error, ErrorKind, Oid};
use durum_objects::inspect::{Inspector, Node, Shown, Tree, TreeOptions};
use serde_json::{Value, json};

use super::args::TreeArgs;
use super::context::Context;
use super::failure::{DONE, Failure, Outcome};
use super::get::{absent, typed_keys};
use super::output;

pub(crate) fn run(context: &Context, args: &TreeArgs) -> Outcome {
    if args.limit == 0 {
        return Err(Error::new(ErrorKind::Usage, "read the arguments")
            .because("--limit 0 shows nothing")
            .into());
    }
    let store = context.open_source(Some(&args.url))?;
    let snapshot = store.snapshot()?;
    let inspector = Inspector::new(&*snapshot)?;
    let options = TreeOptions {
        depth: args.depth,
        objects: args.limit,
        ..TreeOptions::default()
    };
    let tree = inspector.tree(args.oid, options)?;
    if let Some(failure) = unshown(&tree, args.oid) {
        return Err(failure);
    }
    if context.json() {
        let objects: Vec<Value> = tree.nodes.iter().map(object).collect();
        let object = json!({
            "oid": args.oid.0,
            "objects": objects,
            "left_out": tree.left_out,
            "types_error": inspector.problem(),
        });
        context.print(&object, String::new)?;
        return Ok(DONE);
    }
    let mut text = Vec::new();
    if let Some(problem) = inspector.problem() {
        text.extend_from_slice(
            format!("The table of types cannot be read: {problem}\n").as_bytes(),
        );
    }
    tree.write(&mut text)?;
    output::bytes(&text)?;
    Ok(DONE)
}

/// Where there is nothing to begin with.
fn unshown(tree: &Tree, oid: Oid) -> Option<Failure> {
    match &tree.node(oid)?.shown {
        Shown::Absent => Some(absent(oid)),
        Shown::Object(_) | Shown::Damaged(_) => None,
    }
}

fn object(node: &Node) -> Value {
    let mut value = json!({
        "oid": node.oid.0,
        "depth": node.depth,
        "parent": node.parent.map(|oid| oid.0),
        "status": match &node.shown {
            Shown::Object(_) => "shown",
            Shown::Absent => "absent",
            Shown::Damaged(_) => "damaged",
        },
    });
    let Value::Object(keys) = &mut value else {
        return value;
    };
    match &node.shown {
        Shown::Object(object) => {
            let refs: Vec<u64> = object.refs.iter().map(|oid| oid.0).collect();
            keys.insert("tid".to_owned(), json!(object.tid.0));
            keys.insert("refs".to_owned(), json!(refs));
            keys.insert("size".to_owned(), json!(object.size));
            if let Some(typed) = &object.typed {
                keys.extend(typed_keys(typed));
                keys.insert("cut".to_owned(), json!(node.cut));
            }
        }
        Shown::Absent => {}
        Shown::Damaged(problem) => {
            keys.insert("error".to_owned(), json!(problem));
        }
    }
    value
}
