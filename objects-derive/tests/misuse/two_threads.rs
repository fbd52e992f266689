use durum_objects::{Persistent, Ref, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
struct Account {
    balance: i64,
}

fn read(tx: &Transaction, account: Ref<Account>) {
    std::thread::scope(|scope| {
        scope.spawn(|| tx.get(account).map(drop));
        scope.spawn(|| tx.get(account).map(drop));
    });
}

fn main() {
    let _ = read;
}
