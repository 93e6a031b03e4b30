from crystallize.utils.fingerprint import fingerprint as content_hash
