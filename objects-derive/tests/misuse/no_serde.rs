use durum_objects::Persistent;

#[derive(Persistent)]
struct Account {
    balance: i64,
}

fn main() {}
