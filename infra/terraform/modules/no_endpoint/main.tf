# The endpoint is the pipeline's, not Terraform's: without this it would outlive budget and alarms,
# and be billed with nobody to tell. Who calls it has it depend on the whole pipeline: it is destroyed
# first, hence nothing is gone when it refuses.

resource "terraform_data" "this" {
  input = {
    name   = var.name
    bucket = var.bucket
    look   = var.look
  }

  provisioner "local-exec" {
    when    = destroy
    command = <<-SH
      said=$(${self.output.look} 2>&1) && {
        echo "The endpoint '${self.output.name}' exists, and is billed: first run" >&2
        echo "bot pipeline teardown --bucket ${self.output.bucket}" >&2
        exit 1
      }
      case "$said" in
        *"ot find"* | *NotFound*) ;;
        *) echo "Whether the endpoint '${self.output.name}' exists cannot be told: $said" >&2; exit 1 ;;
      esac
    SH
  }
}
