//! How much of what a half sends the daemon holds.

use super::*;

const MEMORY: u64 = 1 << 20;

#[test]
fn contents_beyond_the_room_of_a_store_make_nodes_unreadable_until_there_is_some() {
    let ending = block_on(async {
        let (daemon, end) = StoreChannel::with_room(EVENT_QUEUE);
        let options = HalfOptions { program: "/nonexistent".into(), memory: Some(MEMORY) };
        let mut supervisor = Supervisor::new(server(), options, end);
        daemon.follow(subject("/n", Facet::Data));
        play(&mut supervisor, daemon, async |mut fake| {
            fake.connect().await;
            let content = || sealed(&vec![7; MEMORY as usize]);
            let (mut held, mut refused) = (Vec::new(), 0);
            for _ in 0..100 {
                fake.say_with(&data(), content()).await;
                match fake.daemon.next().await {
                    Some(StoreEvent::Observed { state, .. }) => held.push(state),
                    Some(StoreEvent::Unreadable { reason, .. }) => {
                        assert!(reason.contains("`store_memory`"), "{reason}");
                        refused += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((held.len(), refused), (4, 96));
            held.clear();
            while !matches!(fake.next().await, (ToHalf::Refresh { id: NODE }, _)) {}
            fake.say_with(&data(), content()).await;
            assert!(matches!(fake.daemon.next().await, Some(StoreEvent::Observed { .. })));
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)), "{ending:?}");
}
