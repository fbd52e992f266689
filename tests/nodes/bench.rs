//! `durum bench dict` on nodes. What is found is checked by the benchmark itself.

use std::path::Path;

use serde_json::Value;

use crate::kit::{Nodes, durum, good};

fn bench(dir: &Path, arguments: &[&str]) -> Value {
    let few = ["--engines", "none", "--dicts", "120", "--rounds", "1"];
    let mut command = durum();
    command.args(["bench", "dict", "--json", "--dir"]).arg(dir);
    let output = command.args(few).args(arguments).output().unwrap();
    good(&output);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 18);
    for row in rows {
        assert!(row["per_second"].as_f64() > Some(0.0), "{row}");
    }
    assert_eq!(durum_testkit::names(dir), Vec::<String>::new());
    report
}

#[tokio::test]
async fn nodes_are_started_and_measured() {
    let Some(garage) = durum_cluster::garage() else {
        return;
    };
    let _turn = durum_cluster::turn().await;
    let dir = tempfile::tempdir().unwrap();
    let report = bench(
        dir.path(),
        &["--nodes", "2", "--garage", garage.to_str().unwrap()],
    );
    let store = &report["stores"][0];
    assert_eq!(store["home"], "2 nodes");
    assert!(store["disk_put"].as_u64() > Some(0), "{store}");
    let nodes = store["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    for node in nodes {
        assert!(node["garage"].as_u64() > Some(0), "{store}");
        assert!(node["front"].as_u64() > Some(0), "{store}");
    }
}

#[tokio::test]
async fn nodes_that_run_are_measured_and_left_without_dictionaries() {
    let Some(nodes) = Nodes::start(3).await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let url = format!("garage:{}", nodes.invite_client("bench").display());
    let report = bench(dir.path(), &["--on", &url]);
    let store = &report["stores"][0];
    assert_eq!(
        (store["home"].as_str(), store["disk_put"].as_u64()),
        (Some(url.as_str()), None)
    );
    let ask = |what: &[&str]| -> Value {
        let asked = durum().args(["dict", "--json"]).args(what).output();
        let output = asked.unwrap();
        good(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let classes = ask(&["classes", &url]);
    let class = &classes["classes"][0];
    assert_eq!(class["history"]["seconds"], 1, "{classes}");
    let all = ask(&["all", &url, class["name"].as_str().unwrap()]);
    assert_eq!(
        all["dictionaries"].as_array().map(Vec::len),
        Some(0),
        "{all}"
    );
}
