//! Two clients of one storage server, each with a cache of its own: what one changes, the other sees in its next
//! transaction, and what nobody has changed is not fetched again.
//!
//! ```sh
//! durum serve lmdb:board &
//! cargo run --example shared_cache -- durus+tcp://127.0.0.1:2972
//! ```

use durum::objects::{Database, Error, Persistent, Ref};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "board.Board")]
struct Board {
    notes: Vec<Ref<Note>>,
}

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "board.Note")]
struct Note {
    text: String,
}

fn texts(db: &Database, board: Ref<Board>) -> Result<Vec<String>, Error> {
    let tx = db.view()?;
    let notes = &tx.get(board)?.notes;
    // One request for all that is not in the cache.
    tx.prefetch(notes)?;
    let texts = notes.iter().map(|note| Ok(tx.get(*note)?.text.clone()));
    texts.collect()
}

fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "durus+tcp://127.0.0.1:2972".to_owned());
    let (ada, bob) = (Database::open(&url)?, Database::open(&url)?);

    let of_ada = ada.transact(|tx| {
        let notes = ["milk", "bread", "pepper"]
            .map(str::to_owned)
            .map(|text| tx.new(Note { text }));
        let notes = notes.into_iter().collect::<Result<_, Error>>()?;
        let board = tx.new(Board { notes })?;
        tx.set_root("board", board)?;
        Ok(board)
    })?;
    // A reference is one of the database from which it comes: Bob looks the board up himself.
    let of_bob = bob.view()?.root::<Board>("board")?;
    let Some(of_bob) = of_bob else {
        println!("another program has taken the board away");
        return Ok(());
    };
    println!("Bob reads {}", texts(&bob, of_bob)?.join(", "));

    ada.transact(|tx| {
        let second = tx.get(of_ada)?.notes.get(1).copied();
        if let Some(note) = second {
            tx.get_mut(note)?.text = "rye bread".to_owned();
        }
        Ok(())
    })?;
    println!("Bob reads {}", texts(&bob, of_bob)?.join(", "));

    // Both change the same note, and neither loses the other's change.
    for (who, db) in [("Ada", &ada), ("Bob", &bob)] {
        db.transact(|tx| {
            let board = tx.root::<Board>("board")?;
            if let Some(board) = board
                && let Some(first) = tx.get(board)?.notes.first()
            {
                let mut note = tx.get_mut(*first)?;
                note.text = format!("{} ({who})", note.text);
            }
            Ok(())
        })?;
    }
    println!("Ada reads {}", texts(&ada, of_ada)?.join(", "));
    Ok(())
}
