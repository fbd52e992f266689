//! Items: written, read, deleted, waited for, under whatever keys there are.

use std::time::Duration;

use bytes::Bytes;
use durum_cluster::TestCluster;
use durum_core::ErrorKind;
use durum_garage::{Insert, K2v, PARTITION_KEY_MAX, Range, SORT_KEY_MAX};

async fn bucket(cluster: &TestCluster, name: &str) -> K2v {
    let client = cluster.cluster();
    client.create_bucket(3, name).await.unwrap();
    // Once more is as well.
    client.create_bucket(3, name).await.unwrap();
    client.k2v(3, name).unwrap()
}

/// Keys that are hard on paths, queries, signatures, JSON and order.
fn hostile_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        " ",
        "/",
        "//",
        "a//b",
        ".",
        "..",
        "../..",
        "a/./b",
        "%",
        "%2F",
        "%00",
        "+",
        "a+b c",
        "?",
        "?a=b&c",
        "#",
        "&=",
        "\"",
        "'",
        "\\",
        "\u{0}",
        "a\u{0}b",
        "\n",
        "\r\n",
        "\t",
        "ü",
        "日本語",
        "🦀",
        "\u{feff}",
        "e\u{301}",
        "é",
        "\u{7f}",
        "\u{10ffff}",
        "~-._",
        "A",
        "a",
        "$;,:@!*()[]{}|^`<>",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(PARTITION_KEY_MAX));
    keys.push("é".repeat(SORT_KEY_MAX / 2));
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_come_back_as_they_were_written() {
    let Some(cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let k2v = bucket(&cluster, "round-trips").await;
    round_trips(&k2v).await;
    index(&k2v).await;
    hostile(&bucket(&cluster, "hostile").await).await;
    polls(&bucket(&cluster, "polls").await).await;
    mistakes(&cluster).await;
}

async fn round_trips(k2v: &K2v) {
    let items: Vec<Insert> = (0..250)
        .map(|number| Insert::new("p", &format!("s{number:03}"), number.to_string()))
        .collect();
    k2v.insert(&items).await.unwrap();
    k2v.insert(&[]).await.unwrap();
    let value = |sort: &'static str| async move {
        let item = k2v.read_item("p", sort).await.unwrap();
        item.and_then(|item| item.value().cloned())
    };
    assert_eq!(value("s007").await.unwrap(), "7");
    assert_eq!(value("none").await, None);
    // Pages, forwards and backwards.
    let mut range = Range {
        limit: Some(100),
        ..Range::of("p")
    };
    let mut sizes = Vec::new();
    loop {
        let page = k2v.read_range(&range).await.unwrap();
        sizes.push(page.items.len());
        match page.next {
            Some(next) => range.start = Some(next),
            None => break,
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    let newest = Range {
        reverse: true,
        limit: Some(1),
        ..Range::prefix("p", "s1")
    };
    let between = Range {
        start: Some("s010".into()),
        end: Some("s013".into()),
        ..Range::of("p")
    };
    let pages = k2v
        .read(&[newest, between, Range::of("empty")])
        .await
        .unwrap();
    let sorts = |index: usize| -> Vec<&str> {
        let items = pages[index].items.iter();
        items.map(|item| item.sort.as_str()).collect()
    };
    assert_eq!(sorts(0), ["s199"]);
    assert_eq!(sorts(1), ["s010", "s011", "s012"]);
    assert!(sorts(2).is_empty());
    deletes(k2v).await;
}

async fn deletes(k2v: &K2v) {
    let deleted = [
        Range::single("p", "s000"),
        Range::prefix("p", "s2"),
        Range::of("empty"),
    ];
    assert_eq!(k2v.delete(&deleted).await.unwrap(), [1, 50, 0]);
    // Without those that are deleted, a node that has not heard of it yet is believed for a moment.
    let all = Range {
        tombstones: true,
        ..Range::of("p")
    };
    let page = k2v.read_range(&all).await.unwrap();
    let there = page.items.iter().filter(|item| item.value().is_some());
    assert_eq!(there.count(), 199);
    // An empty value is a value, and any byte is one.
    let bytes: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let both = [
        Insert::new("q", "empty", ""),
        Insert::new("q", "bytes", bytes.clone()),
    ];
    k2v.insert(&both).await.unwrap();
    let page = k2v.read_range(&Range::of("q")).await.unwrap();
    assert_eq!(page.items[0].value(), Some(&bytes));
    assert_eq!(page.items[1].value(), Some(&Bytes::new()));
}

/// The index follows the items a little later.
async fn index(k2v: &K2v) {
    let begun = std::time::Instant::now();
    loop {
        let index = k2v.partitions(None, 1000).await.unwrap();
        let found: Vec<(&str, i64)> = index
            .partitions
            .iter()
            .map(|it| (it.partition.as_str(), it.entries))
            .collect();
        if found == [("p", 199), ("q", 2)] {
            break;
        }
        assert!(begun.elapsed() < durum_cluster::TIME_MAX, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = k2v.partitions(None, 1).await.unwrap();
    assert_eq!(
        (first.partitions.len(), first.next.as_deref()),
        (1, Some("q"))
    );
}

async fn hostile(k2v: &K2v) {
    let keys = hostile_keys();
    for key in &keys {
        let items: Vec<Insert> = keys
            .iter()
            .map(|sort| Insert::new(key, sort, sort.clone()))
            .collect();
        k2v.insert(&items).await.unwrap();
    }
    let mut sorted = keys.clone();
    sorted.sort();
    for key in &keys {
        let page = k2v.read_range(&Range::of(key)).await.unwrap();
        let found: Vec<&str> = page.items.iter().map(|item| item.sort.as_str()).collect();
        assert_eq!(found, sorted, "in the partition {key:?}");
        for item in &page.items {
            assert_eq!(item.value().unwrap(), item.sort.as_bytes());
        }
        // This one has the partition key in its path.
        let changes = k2v
            .poll(&Range::of(key), None, Duration::from_secs(1))
            .await;
        assert_eq!(changes.unwrap().unwrap().items.len(), keys.len(), "{key:?}");
    }
    let last = k2v
        .partitions(sorted.last().map(String::as_str), 10)
        .await
        .unwrap();
    assert_eq!(last.partitions.len(), 1);
    // What is as long as it may be can be deleted as well.
    let longest = Range::prefix("p", "é");
    k2v.insert(&[Insert::new("p", &"é".repeat(SORT_KEY_MAX / 2), "x")])
        .await
        .unwrap();
    assert_eq!(k2v.delete(&[longest]).await.unwrap(), [1]);
}

async fn polls(k2v: &K2v) {
    let range = Range::prefix("p", "h/");
    k2v.insert(&[Insert::new("p", "h/1", "a"), Insert::new("p", "i/1", "a")])
        .await
        .unwrap();
    let wait = Duration::from_secs(30);
    let first = k2v.poll(&range, None, wait).await.unwrap().unwrap();
    assert_eq!(first.items.len(), 1);
    let short = Duration::from_secs(1);
    assert_eq!(
        k2v.poll(&range, Some(&first.marker), short).await.unwrap(),
        None
    );
    let waiting = {
        let (k2v, range, marker) = (k2v.clone(), range.clone(), first.marker.clone());
        tokio::spawn(async move { k2v.poll(&range, Some(&marker), wait).await })
    };
    k2v.insert(&[Insert::new("p", "i/2", "b")]).await.unwrap();
    k2v.insert(&[Insert::new("p", "h/2", "b")]).await.unwrap();
    let second = waiting.await.unwrap().unwrap().unwrap();
    let sorts: Vec<&str> = second.items.iter().map(|item| item.sort.as_str()).collect();
    assert_eq!(sorts, ["h/2"]);
    let error = k2v
        .poll(&range, Some("no marker"), short)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

async fn mistakes(cluster: &TestCluster) {
    let client = cluster.cluster();
    let kind = |error: durum_core::Error| error.kind();
    assert_eq!(
        client.k2v(2, "bucket").map(drop).map_err(kind),
        Err(ErrorKind::Usage)
    );
    for name in [
        "",
        "ab",
        "A-b",
        "a/b",
        "-ab",
        "a b",
        "ab\u{e9}",
        &"a".repeat(64),
    ] {
        assert_eq!(
            client.k2v(3, name).map(drop).map_err(kind),
            Err(ErrorKind::Usage),
            "{name}"
        );
    }
    let absent = client.k2v(3, "absent").unwrap();
    let error = absent.read_item("p", "s").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let k2v = bucket(cluster, "mistakes").await;
    for (partition, sort, expected) in [
        ("", "s".to_owned(), ErrorKind::Usage),
        ("p", "s".repeat(SORT_KEY_MAX + 1), ErrorKind::TooLarge),
    ] {
        let error = k2v
            .insert(&[Insert::new(partition, &sort, "x")])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
    }
    let mut settings = cluster.settings();
    for credentials in settings.access.values_mut() {
        credentials.secret = "0".repeat(64);
    }
    let stranger = durum_garage::Cluster::new(settings).unwrap();
    let error = stranger
        .k2v(3, "mistakes")
        .unwrap()
        .read_item("p", "s")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(error.reason().matches("AccessDenied").count(), 3, "{error}");
}
