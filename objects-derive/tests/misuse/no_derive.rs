use durum_objects::{Ref, Result, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn make(tx: &Transaction) -> Result<Ref<Account>> {
    tx.new(Account { balance: 0 })
}

fn main() {
    let _ = make;
}
