//! A stored type that changes between two versions of a program.
//!
//! ```sh
//! cargo run --example upgrade -- first lmdb:library    # stores books as version 1 knows them
//! cargo run --example upgrade -- second lmdb:library   # reads them as version 2 does, and changes one
//! cargo run --example upgrade -- first lmdb:library    # version 1 says that it is too old for that one
//! ```
//! The two programs are two modules here. Objects are upgraded when they are loaded, and stored in the new form
//! when they are changed next; nothing has to be converted at once.

use durum::objects::{Database, Error};

/// The program as it was.
mod first {
    use durum::objects::{Database, Error, Persistent, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize, Persistent)]
    #[persistent(name = "library.Shelf")]
    struct Shelf {
        books: Vec<Ref<Book>>,
    }

    #[derive(Clone, Serialize, Deserialize, Persistent)]
    #[persistent(name = "library.Book")]
    struct Book {
        title: String,
        /// All authors, separated by semicolons.
        authors: String,
    }

    const BOOKS: [(&str, &str); 2] = [
        ("Transaction Processing", "Jim Gray; Andreas Reuter"),
        ("Purely Functional Data Structures", "Chris Okasaki"),
    ];

    pub(crate) fn run(db: &Database) -> Result<(), Error> {
        db.transact(|tx| {
            if tx.root::<Shelf>("shelf")?.is_none() {
                let books = BOOKS.into_iter().map(|(title, authors)| {
                    tx.new(Book {
                        title: title.to_owned(),
                        authors: authors.to_owned(),
                    })
                });
                let books = books.collect::<Result<_, Error>>()?;
                tx.set_root("shelf", tx.new(Shelf { books })?)?;
            }
            Ok(())
        })?;
        let tx = db.view()?;
        if let Some(shelf) = tx.root::<Shelf>("shelf")? {
            for book in &tx.get(shelf)?.books {
                let book = tx.get(*book)?;
                println!("{} by {}", book.title, book.authors);
            }
        }
        Ok(())
    }
}

/// The program as it is.
mod second {
    use durum::objects::{Database, Error, Persistent, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize, Persistent)]
    #[persistent(name = "library.Shelf")]
    struct Shelf {
        books: Vec<Ref<Book>>,
    }

    /// What version 1 stored: the fields are all that counts, not the name.
    #[derive(Clone, Serialize, Deserialize)]
    struct BookV1 {
        title: String,
        authors: String,
    }

    #[derive(Clone, Serialize, Deserialize, Persistent)]
    #[persistent(name = "library.Book", version = 2, upgrade_from(1, Book::from_v1))]
    struct Book {
        title: String,
        authors: Vec<String>,
        read: bool,
    }

    impl Book {
        fn from_v1(old: BookV1) -> Book {
            let authors = old.authors.split(';').map(|it| it.trim().to_owned());
            Book {
                title: old.title,
                authors: authors.collect(),
                read: false,
            }
        }
    }

    pub(crate) fn run(db: &Database) -> Result<(), Error> {
        let shelf = db.view()?.root::<Shelf>("shelf")?;
        let Some(shelf) = shelf else {
            println!("there is no shelf yet: run the first version");
            return Ok(());
        };
        let tx = db.view()?;
        for book in &tx.get(shelf)?.books {
            let book = tx.get(*book)?;
            let (read, authors) = (book.read, book.authors.join(" and "));
            println!("{} by {authors}, read: {read}", book.title);
        }
        // Only this one is stored anew.
        db.transact(|tx| {
            if let Some(first) = tx.get(shelf)?.books.first() {
                tx.get_mut(*first)?.read = true;
            }
            Ok(())
        })
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let version = arguments.next().unwrap_or_else(|| "both".to_owned());
    let url = arguments.next().unwrap_or_else(|| "memory:".to_owned());
    let db = Database::open_or_create(&url)?;
    if version != "second" {
        println!("-- the first version");
        first::run(&db)?;
    }
    if version != "first" {
        println!("-- the second version");
        second::run(&db)?;
    }
    Ok(())
}
