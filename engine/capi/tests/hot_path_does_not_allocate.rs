//! `get_rows` as the example has it allocates nothing, once its batch has had as many ids.

use std::{ffi::CString, ptr};

use engram_capi::{
    ENGRAM_F32, engram_batch_free, engram_batch_new, engram_batch_set_i32, engram_layer_width,
    engram_lookup, engram_status, engram_store_close, engram_store_open,
};

#[test]
fn rows_in_memory_come_without_an_allocation() {
    let pack = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/deepseek"
    );
    let pack = CString::new(pack).unwrap();
    let ids: Vec<i32> = (0..2_000)
        .map(|i| if i % 50 == 0 { -1 } else { i % 100 })
        .collect();
    let (mut store, mut batch) = (ptr::null_mut(), ptr::null_mut());
    let ok = |status| assert_eq!(status, engram_status::ENGRAM_OK);
    // SAFETY: every pointer is to a variable that lives long enough, and to an object that is freed at the end.
    unsafe {
        let error = ptr::null_mut();
        ok(engram_store_open(
            pack.as_ptr(),
            c"{\"reader\": \"memory\"}".as_ptr(),
            &raw mut store,
            error,
        ));
        ok(engram_batch_new(&raw mut batch, error));
        let width = engram_layer_width(store, 1);
        let mut out = vec![0.0_f32; ids.len() * width];
        let bytes = size_of_val(&*out);
        let mut get_rows = || {
            ok(engram_batch_set_i32(
                batch,
                1,
                ids.as_ptr(),
                ids.len(),
                error,
            ));
            ok(engram_lookup(
                store,
                batch,
                ENGRAM_F32,
                out.as_mut_ptr().cast(),
                bytes,
                0,
                error,
            ));
        };
        get_rows();
        let allocated = allocation_counter::measure(get_rows);
        assert_eq!(allocated.count_total, 0);
        engram_batch_free(batch);
        engram_store_close(store);
    }
}
