variable "name" {
  description = "Name of the endpoint."
  type        = string
}

variable "bucket" {
  description = "The pipeline's artifact bucket, for `bot pipeline teardown`."
  type        = string
}

variable "look" {
  description = "Command that succeeds where the endpoint exists, and says that it is not found where it does not."
  type        = string
}
