//! Objects: large values.

use bytes::Bytes;
use durum_cluster::TestCluster;
use durum_core::ErrorKind;
use durum_garage::S3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_come_back_as_they_were_written() {
    let Some(mut cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let client = cluster.cluster();
    client.create_bucket(3, "objects").await.unwrap();
    let s3 = client.s3(3, "objects").unwrap();
    let keys = [
        "a",
        "a/b",
        "a b",
        "ü+%2F&<>\"'",
        "日本語",
        "x?y#z",
        "..",
        "\u{1}\n",
    ];
    for key in keys {
        s3.put(key, key.as_bytes().to_vec()).await.unwrap();
        let found = s3.get_whole(key, 100).await.unwrap();
        assert_eq!(found.as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let (mut listed, mut next) = (Vec::new(), None);
    loop {
        let page = s3.list("", next.as_deref(), 3).await.unwrap();
        assert!(page.objects.len() <= 3);
        listed.extend(page.objects.into_iter().map(|object| object.key));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(listed, sorted);
    assert_eq!(s3.list("a", None, 1000).await.unwrap().objects.len(), 3);
    s3.delete("a").await.unwrap();
    s3.delete("a").await.unwrap();
    assert_eq!(s3.head("a").await.unwrap(), None);
    assert!(s3.get("a").await.unwrap().is_none());
    let empty = s3.put("empty", Bytes::new()).await;
    empty.unwrap();
    assert_eq!(s3.get_whole("empty", 0).await.unwrap(), Some(Bytes::new()));
    large_ones(&mut cluster, &s3).await;
    let absent = client.s3(3, "absent").unwrap();
    let error = absent.put("a", "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(
        absent.get("a").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

/// Of many blocks, while a node is lost in the middle of reading.
async fn large_ones(cluster: &mut TestCluster, s3: &S3) {
    let large: Bytes = (0..24_000_000_u32)
        .map(|at| (at / 7) as u8)
        .collect::<Vec<u8>>()
        .into();
    s3.put("large", large.clone()).await.unwrap();
    assert_eq!(
        s3.head("large").await.unwrap().unwrap().len,
        large.len() as u64
    );
    let error = s3.get_whole("large", 1_000_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    for victim in [0, 1, 2] {
        let mut download = s3.get("large").await.unwrap().unwrap();
        let mut found = download.chunk().await.unwrap().unwrap().to_vec();
        cluster.kill(victim);
        while let Some(chunk) = download.chunk().await.unwrap() {
            found.extend_from_slice(&chunk);
        }
        assert!(
            found == large,
            "{} bytes instead of {}",
            found.len(),
            large.len()
        );
        cluster.run(victim);
        cluster.wait_until_all_are_up().await;
    }
}
