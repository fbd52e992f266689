//! A bank: threads transfer money between the same few accounts, and none is ever lost.
//!
//! ```sh
//! cargo run --release --example bank -- lmdb:bank
//! durum serve lmdb:bank & cargo run --release --example bank -- durus+tcp://127.0.0.1:2972
//! ```
//! Transfers that meet are repeated; an auditor, who sees the state of one moment, always finds the same sum.
//! Several such programs can work on one bank at the same time, through `durum serve`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durum::objects::{Database, Error, Persistent, Ref, Transaction};
use serde::{Deserialize, Serialize};

const ACCOUNTS: usize = 10;
const EACH: i64 = 1_000;
const THREADS: usize = 8;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "bank.Bank")]
struct Bank {
    accounts: Vec<Ref<Account>>,
}

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "bank.Account")]
struct Account {
    owner: String,
    /// In cents; never negative.
    balance: i64,
}

/// Why a transfer was not made.
#[derive(Debug)]
enum Refusal {
    NotEnough,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Store(error)
    }
}

fn transfer(
    tx: &Transaction,
    from: Ref<Account>,
    to: Ref<Account>,
    amount: i64,
) -> Result<(), Refusal> {
    let mut from = tx.get_mut(from)?;
    from.balance -= amount;
    if from.balance < 0 {
        // Nothing of this is kept.
        return Err(Refusal::NotEnough);
    }
    tx.get_mut(to)?.balance += amount;
    Ok(())
}

/// The bank of this database, which is opened if there is none.
fn bank(tx: &Transaction) -> Result<Ref<Bank>, Error> {
    if let Some(bank) = tx.root("bank")? {
        return Ok(bank);
    }
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(tx.new(Account {
            owner: format!("customer {number}"),
            balance: EACH,
        })?);
    }
    let bank = tx.new(Bank { accounts })?;
    tx.set_root("bank", bank)?;
    Ok(bank)
}

fn sum(db: &Database, bank: Ref<Bank>) -> Result<i64, Error> {
    db.read(|tx| {
        let accounts = &tx.get(bank)?.accounts;
        tx.prefetch(accounts)?;
        accounts
            .iter()
            .map(|account| Ok(tx.get(*account)?.balance))
            .sum()
    })
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "memory:".to_owned());
    let transfers: usize = arguments
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or(500);

    let db = Database::open_or_create(&url)?;
    let bank = db.transact(bank)?;
    let (made, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let auditor = scope.spawn(|| {
            let mut audits = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let found = sum(&db, bank)?;
                assert_eq!(found, EACH * ACCOUNTS as i64, "money was lost or made");
                audits += 1;
            }
            Ok::<_, Error>(audits)
        });
        let clerks: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let accounts = db.read(|tx| Ok(tx.get(bank)?.accounts.clone()))?;
                    for _ in 0..transfers {
                        let from = fastrand::choice(&accounts).copied();
                        let to = fastrand::choice(&accounts).copied();
                        let (Some(from), Some(to)) = (from, to) else {
                            continue;
                        };
                        if from == to {
                            continue;
                        }
                        let amount = fastrand::i64(1..EACH);
                        match db.try_transact(|tx| transfer(tx, from, to, amount)) {
                            Ok(()) => made.fetch_add(1, Ordering::Relaxed),
                            Err(Refusal::NotEnough) => refused.fetch_add(1, Ordering::Relaxed),
                            Err(Refusal::Store(error)) => return Err(error),
                        };
                    }
                    Ok(())
                })
            })
            .collect();
        let worked = clerks.into_iter().map(|clerk| clerk.join());
        let worked: Result<Vec<()>, Error> = worked.map(|it| it.unwrap_or(Ok(()))).collect();
        done.store(true, Ordering::Relaxed);
        let audits = auditor.join().unwrap_or(Ok(0))?;
        worked?;
        println!(
            "{} transfers, {} refused for lack of money, {audits} audits",
            made.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed),
        );
        Ok::<_, Error>(())
    })?;
    let accounts = db.read(|tx| {
        let accounts = tx.get(bank)?.accounts.clone();
        let accounts = accounts.into_iter().map(|account| tx.get(account));
        accounts.collect::<Result<Vec<_>, _>>()
    })?;
    for account in accounts {
        println!("{}: {}", account.owner, account.balance);
    }
    println!("sum: {}", sum(&db, bank)?);
    Ok(())
}
