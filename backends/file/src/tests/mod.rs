//! Tests of the engine as a whole, against a map.

mod damage;
mod faults;
mod history;
mod holes;
mod model;
mod power;
mod reopened;
mod space;
