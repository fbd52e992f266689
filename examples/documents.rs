//! A store of documents with two indexes: by title, and by word.
//!
//! ```sh
//! cargo run --example documents -- lmdb:documents add "Ada's notes" "the engine weaves algebraic patterns"
//! cargo run --example documents -- lmdb:documents find engine
//! cargo run --example documents -- lmdb:documents list A M    # titles from A up to, and without, M
//! cargo run --example documents -- lmdb:documents remove "Ada's notes"
//! ```
//! A document is found without loading any other: each step touches one node of an index, and the document.

use std::collections::BTreeSet;

use durum::objects::{BTree, Database, Error, Persistent, Ref, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "documents.Library")]
struct Library {
    by_title: BTree<String, Ref<Document>>,
    /// A word and a title, so that each word has all of its documents in a row.
    by_word: BTree<(String, String), Ref<Document>>,
}

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "documents.Document")]
struct Document {
    title: String,
    text: String,
}

impl Document {
    fn words(&self) -> BTreeSet<String> {
        let words = self.text.split(|letter: char| !letter.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    }
}

impl Library {
    fn open(tx: &Transaction) -> Result<Ref<Library>, Error> {
        if let Some(library) = tx.root("library")? {
            return Ok(library);
        }
        let library = tx.new(Library {
            by_title: BTree::new(tx)?,
            by_word: BTree::new(tx)?,
        })?;
        tx.set_root("library", library)?;
        Ok(library)
    }

    fn add(&self, tx: &Transaction, document: Document) -> Result<(), Error> {
        self.remove(tx, &document.title)?;
        let (title, words) = (document.title.clone(), document.words());
        let document = tx.new(document)?;
        for word in words {
            self.by_word.insert(tx, (word, title.clone()), document)?;
        }
        self.by_title.insert(tx, title, document)?;
        Ok(())
    }

    /// What nothing refers to any more is deleted by the store.
    fn remove(&self, tx: &Transaction, title: &str) -> Result<bool, Error> {
        let title = title.to_owned();
        let Some(document) = self.by_title.remove(tx, &title)? else {
            return Ok(false);
        };
        for word in tx.get(document)?.words() {
            self.by_word.remove(tx, &(word, title.clone()))?;
        }
        Ok(true)
    }

    fn find(&self, tx: &Transaction, word: &str) -> Result<Vec<Ref<Document>>, Error> {
        let word = word.to_lowercase();
        let mut found = Vec::new();
        for entry in self.by_word.range(tx, (word.clone(), String::new())..)? {
            let ((entry, _), document) = entry?;
            if entry != word {
                break;
            }
            found.push(document);
        }
        Ok(found)
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let db = Database::open_or_create(arguments.first().unwrap_or(&"memory:"))?;
    let library = db.transact(Library::open)?;
    let library = db.view()?.get(library)?;
    match arguments.get(1..).unwrap_or_default() {
        ["add", title, text] => {
            let document = Document {
                title: (*title).to_owned(),
                text: (*text).to_owned(),
            };
            db.transact(|tx| library.add(tx, document.clone()))?;
        }
        ["remove", title] => {
            if !db.transact(|tx| library.remove(tx, title))? {
                println!("there is no such document");
            }
        }
        ["find", word] => {
            let tx = db.view()?;
            for document in library.find(&tx, word)? {
                let document = tx.get(document)?;
                println!("{}: {}", document.title, document.text);
            }
        }
        ["list", from, to] => {
            let tx = db.view()?;
            let titles = (*from).to_owned()..(*to).to_owned();
            for entry in library.by_title.range(&tx, titles)? {
                println!("{}", entry?.0);
            }
        }
        _ => println!("add TITLE TEXT, find WORD, list FROM TO, or remove TITLE"),
    }
    let tx = db.view()?;
    println!("{} documents", library.by_title.len(&tx)?);
    Ok(())
}
