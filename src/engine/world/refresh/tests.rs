//! Who is kept while nobody looks. What a look finds is asked elsewhere.

use futures::FutureExt;

use super::*;

#[tokio::test]
async fn who_waits_no_longer_is_kept_by_nobody() {
    let wanted = Wanted::default();
    for _ in 0..100 {
        // asks, and goes before anybody looked
        assert!(wanted.refresh("crm").now_or_never().is_none());
    }
    let mut waits = std::pin::pin!(wanted.refresh("lake"));
    assert!(waits.as_mut().now_or_never().is_none());
    let asked = wanted.take();
    assert_eq!(asked.iter().map(|one| one.source.as_str()).collect::<Vec<_>>(), ["lake"]);
    asked.into_iter().for_each(|one| one.tell(Ok(())));
    waits.await.unwrap();
}
