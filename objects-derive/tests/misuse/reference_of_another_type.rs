use durum_objects::{Persistent, Ref, Result, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
struct Account {
    balance: i64,
}

#[derive(Clone, Serialize, Deserialize, Persistent)]
struct Customer {
    account: Ref<Account>,
}

fn balance(tx: &Transaction, account: Ref<Account>) -> Result<i64> {
    Ok(tx.get(account)?.balance)
}

fn main() {
    let _ = |tx: &Transaction, customer: Ref<Customer>| balance(tx, customer);
}
