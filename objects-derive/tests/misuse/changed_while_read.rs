use durum_objects::{Persistent, Ref, Result, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
struct Account {
    balance: i64,
}

fn deposit(tx: &Transaction, account: Ref<Account>) -> Result<()> {
    tx.get(account)?.balance += 1;
    Ok(())
}

fn finish(tx: &mut Transaction, account: Ref<Account>) -> Result<()> {
    let mut held = tx.get_mut(account)?;
    tx.commit()?;
    held.balance += 1;
    Ok(())
}

fn main() {
    let _ = (deposit, finish);
}
